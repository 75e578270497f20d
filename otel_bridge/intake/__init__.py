"""From a decoded value to a journaled record and what is answered."""
