"""Raw arrays: which library they belong to, their element types, the card, and how numbers become one."""
