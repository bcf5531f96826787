"""How Nightjar is put on machines, and mappings that work: data, which the wheel holds as well."""
