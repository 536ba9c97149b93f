"""Everything after the fact, and every model: records, mappings, metrics, costs, figures; needs no instrument."""
