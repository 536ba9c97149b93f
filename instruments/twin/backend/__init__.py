"""The backend `twin` of pyvisa, which looks for it under the import name `pyvisa_twin`.

Nothing of the simulated laboratory itself is imported before a bench file is opened.
"""

from instruments.twin.visa import TwinVisaLibrary

WRAPPER_CLASS = TwinVisaLibrary
