//! One body, two tests: the namespaces promise the same, and so they are held to the same. It knows nothing of what the
//! bodies do.

#![allow(unreachable_pub)] // one crate, many modules

use omemo::protocol::namespace::Namespace;

/// What a body may be told of the namespace that it runs in: the namespace, or its name.
pub trait Told {
    fn told(namespace: Namespace) -> Self;
}

impl Told for Namespace {
    fn told(namespace: Namespace) -> Self {
        namespace
    }
}

impl Told for &'static str {
    fn told(namespace: Namespace) -> Self {
        namespace.uri()
    }
}

/// Makes of each function that takes a namespace two tests: `name::omemo2` and `name::legacy`.
#[macro_export]
macro_rules! in_both_namespaces {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            use $crate::support::both::Told;

            #[test]
            fn omemo2() {
                super::$name(Told::told(omemo::protocol::namespace::Namespace::Omemo2));
            }

            #[test]
            fn legacy() {
                super::$name(Told::told(omemo::protocol::namespace::Namespace::Legacy));
            }
        }
    )*};
}
