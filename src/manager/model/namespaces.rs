//! A set of namespaces.

use crate::protocol::namespace::Namespace;

/// Which of the namespaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::manager) struct NamespaceSet {
    omemo2: bool,
    legacy: bool,
}

impl NamespaceSet {
    /// Returns the set of one.
    pub(in crate::manager) fn of(namespace: Namespace) -> NamespaceSet {
        let mut set = NamespaceSet::default();
        set.insert(namespace);
        set
    }

    fn flag(&mut self, namespace: Namespace) -> &mut bool {
        match namespace {
            Namespace::Omemo2 => &mut self.omemo2,
            Namespace::Legacy => &mut self.legacy,
        }
    }

    pub(in crate::manager) fn contains(mut self, namespace: Namespace) -> bool {
        *self.flag(namespace)
    }

    pub(in crate::manager) fn insert(&mut self, namespace: Namespace) {
        *self.flag(namespace) = true;
    }

    pub(in crate::manager) fn remove(&mut self, namespace: Namespace) {
        *self.flag(namespace) = false;
    }

    pub(in crate::manager) fn is_empty(self) -> bool {
        self == NamespaceSet::default()
    }

    pub(in crate::manager) fn iter(self) -> impl Iterator<Item = Namespace> {
        Namespace::ALL.into_iter().filter(move |namespace| self.contains(*namespace))
    }

    /// Returns the numbers of its members as they are stored.
    pub(in crate::manager) fn codes(self) -> Vec<u32> {
        self.iter().map(Namespace::code).collect()
    }

    /// Returns the set of stored numbers; `None` where one is unknown.
    pub(in crate::manager) fn from_codes(codes: &[u32]) -> Option<NamespaceSet> {
        let mut set = NamespaceSet::default();
        for code in codes {
            set.insert(Namespace::from_code(*code)?);
        }
        Some(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Namespace::{Legacy, Omemo2};

    #[test]
    fn a_set_holds_what_was_inserted_and_not_removed() {
        for (one, other) in [(Omemo2, Legacy), (Legacy, Omemo2)] {
            let mut set = NamespaceSet::of(one);
            assert!(set.contains(one) && !set.contains(other) && !set.is_empty());
            assert_eq!((set.iter().collect::<Vec<_>>(), set.codes()), (vec![one], vec![one.code()]));
            assert_eq!(NamespaceSet::from_codes(&set.codes()), Some(set));
            set.insert(other);
            assert_eq!(set.iter().collect::<Vec<_>>(), Namespace::ALL);
            set.remove(one);
            assert_eq!(set, NamespaceSet::of(other));
            set.remove(other);
            assert!(set.is_empty() && set.codes().is_empty());
        }
        assert_eq!(NamespaceSet::from_codes(&[2, 3]), None);
        assert_eq!(NamespaceSet::from_codes(&[]), Some(NamespaceSet::default()));
    }
}
