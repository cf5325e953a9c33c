//! What an account announces: the ids of its devices, and their labels.

use super::namespace::Namespace;

/// One device of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedDevice {
    /// Its id as announced, which may lie outside of the valid range.
    pub id: u32,
    /// Its label as announced, not verified.
    pub label: Option<String>,
    /// The signature of the label.
    pub label_signature: Option<[u8; 64]>,
}

/// A device list (XEP-0384 5.3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceList {
    /// Which namespace it was published in.
    pub namespace: Namespace,
    /// Its devices, each id once, in the order in which they were announced.
    pub devices: Vec<ListedDevice>,
}
