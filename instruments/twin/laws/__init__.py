"""Device laws of the twin's cells, one a module, behind one interface (`law.Law`).

How to write a law
------------------
A law is a frozen dataclass: its fields are the device's constants, its methods the physics. A preset file names it and
gives the constants, and everything that takes a preset (`ohmflow program --preset my-device.yaml`,
`Station.open(..., preset="my-device.yaml")`) then runs on it:

    law: mylab.laws:MyLaw
    source: where the constants come from
    cell: {v_on: 0.7 V, noise_share: 0.1, relax_a: 0.4 uS}

Without `law:` it is `instruments.twin.laws.gated:CellLaw`. A file may come from a stranger and importing a module runs
it, so a package other than this one must be trusted by name: `OHMFLOW_HANDLERS=mylab.laws`.

1. The state of one cell is a record of a numpy dtype, `record` in your class, made by `parts.record(...)`: the common
   fields (conductance, what relaxes, transistor, telegraph, defects, counters) and your own.
2. Constants are fields with defaults, in SI. `parts.constant(1.2, "V")` lets presets write units and says what is
   allowed. A field whose type is one of the parts below brings that part's constants into the preset's `cell:`, flat.
3. `fresh(shape, rng, now_ns)` draws a new chip: begin with `parts.blank(record, shape, now_ns)`.
4. Every other method gets `c`, a private **copy** of the records of the cells concerned, of any shape. A pulse or a
   read changes the copy in place; `cell.CellArray` then puts it back whole, so that no kill finds half a cell written.
   Chance comes from the generator handed in and nowhere else.
5. Compose rather than rewrite: `parts.Relaxation`, `parts.ReadNoise`, `parts.Defects`, `parts.Jumps`,
   `parts.Forming`, and `parts.bounded` and `parts.book` for the last steps of a pulse.

`increments.py` is the shortest example. What the wires ask besides: `v_quiet`, `disturbs`, `gate_within`, `g_leak` and
`noise`; `law.Law` says what each means.
"""
