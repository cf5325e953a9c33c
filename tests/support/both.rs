//! One body, two tests or four: the namespaces promise the same, and so do the two faces of the library. It knows nothing
//! of what the bodies do.

#![allow(unreachable_pub)] // one crate, many modules

use omemo::protocol::namespace::Namespace;

/// A form of the namespace that a test body takes: the namespace itself, or its name.
pub trait FromNamespace {
    fn from_namespace(namespace: Namespace) -> Self;
}

impl FromNamespace for Namespace {
    fn from_namespace(namespace: Namespace) -> Self {
        namespace
    }
}

impl FromNamespace for &'static str {
    fn from_namespace(namespace: Namespace) -> Self {
        namespace.uri()
    }
}

/// Makes of each function that takes a namespace two tests: `name::omemo2` and `name::legacy`.
#[macro_export]
macro_rules! in_both_namespaces {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            use $crate::support::both::FromNamespace;

            #[test]
            fn omemo2() {
                super::$name(FromNamespace::from_namespace(omemo::protocol::namespace::Namespace::Omemo2));
            }

            #[test]
            fn legacy() {
                super::$name(FromNamespace::from_namespace(omemo::protocol::namespace::Namespace::Legacy));
            }
        }
    )*};
}

/// Makes of each function over a `Device` that takes a namespace four tests: on the Rust face and on the C face, in both
/// namespaces.
#[macro_export]
macro_rules! in_both_namespaces_and_faces {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            use $crate::support::both::FromNamespace;
            use $crate::support::world::{CDevice, RustDevice};
            use omemo::protocol::namespace::Namespace::{Legacy, Omemo2};

            #[test]
            fn rust_omemo2() {
                super::$name::<RustDevice>(FromNamespace::from_namespace(Omemo2));
            }

            #[test]
            fn rust_legacy() {
                super::$name::<RustDevice>(FromNamespace::from_namespace(Legacy));
            }

            #[test]
            fn c_omemo2() {
                super::$name::<CDevice>(FromNamespace::from_namespace(Omemo2));
            }

            #[test]
            fn c_legacy() {
                super::$name::<CDevice>(FromNamespace::from_namespace(Legacy));
            }
        }
    )*};
}

/// Makes of each function over a `Device` two tests, one a face; for what only one namespace knows.
#[macro_export]
macro_rules! on_both_faces {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            #[test]
            fn rust() {
                super::$name::<$crate::support::world::RustDevice>();
            }

            #[test]
            fn c() {
                super::$name::<$crate::support::world::CDevice>();
            }
        }
    )*};
}
