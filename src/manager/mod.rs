//! Policy over traits. Knows no XML and no C.
