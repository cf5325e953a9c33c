//! The executor that advances only inside run. Knows nothing of OMEMO.
