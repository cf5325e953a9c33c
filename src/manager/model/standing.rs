//! Whether the client has named a JID itself: what strangers cause never takes room from known JIDs.

/// What a JID is to the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::manager) enum Standing {
    /// The client has named it: content was encrypted to it, or one of its keys was judged. So is the own JID.
    Known,
    /// Only others have named it.
    #[default]
    Stranger,
}

impl Standing {
    #[cfg(test)]
    pub(in crate::manager) const ALL: [Standing; 2] = [Standing::Known, Standing::Stranger];

    pub(in crate::manager) fn is_known(self) -> bool {
        self == Standing::Known
    }
}
