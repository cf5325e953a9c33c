//! Debug output that says nothing but the name of a type.

/// Has types say nothing of themselves, for they hold secrets or name people.
macro_rules! silent {
    ($($type:ident)*) => {$(
        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($type), "(..)"))
            }
        }
    )*};
}
pub(crate) use silent;
