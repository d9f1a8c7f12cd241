"""Raw arrays: their library and device, their element types, the card, and how numbers become arrays."""
