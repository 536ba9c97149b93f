"""Everything that talks to hardware: stations, drivers, limits, and the twin that stands in for a laboratory."""
