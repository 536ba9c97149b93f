"""How Prefect is set up before it is first imported: local, quiet, no telemetry, nothing left behind.

Prefect reads its settings from the environment when it is imported, so the command line calls `prepare` first. What the
user has set wins, except where it would reach out of this machine unasked.
"""

import os
from pathlib import Path

_DEFAULTS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # In-memory leases would leak a slot for ever when the server restarts.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "PREFECT_RUNNER_POLL_FREQUENCY": "5",
    "PREFECT_CLI_PROMPT": "false",
}


def state_folder() -> Path:
    """Where ohmflow keeps what is neither a run nor a setting: `$OHMFLOW_HOME`, else `.ohmflow` in the user's home."""
    return Path(os.environ.get("OHMFLOW_HOME") or Path.home() / ".ohmflow").expanduser()


def prepare(home: Path | None = None) -> None:
    """Set the environment for Prefect, before `import prefect`; once it is imported this changes nothing.

    Args:
        home: Prefect's folder (database, results, logs); default `prefect` in the state folder.
    """
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("PREFECT_HOME", str((home or state_folder() / "prefect").absolute()))
    # A proxy would swallow the traffic with the server on this machine; a SOCKS one breaks the client altogether.
    for name in ("NO_PROXY", "no_proxy"):
        known = [part for part in os.environ.get(name, "").split(",") if part]
        os.environ[name] = ",".join(dict.fromkeys([*known, "127.0.0.1", "localhost"]))
    for name in ("ALL_PROXY", "all_proxy"):
        if os.environ.get(name, "").startswith("socks"):
            del os.environ[name]
