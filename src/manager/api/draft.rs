//! What to encrypt, for whom, and what to do about devices that are not ready.

use crate::crypto::rng::Rng;
use crate::error::{Error, Result, Status};
use crate::protocol::address::BareJid;
use crate::protocol::namespace::Namespace;
use crate::protocol::payload::{self, EncryptedPayload};
use zeroize::Zeroizing;

/// What to do about devices that are not ready. No policy ever drops a recipient in silence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(i32)]
pub enum EncryptPolicy {
    /// Wait until everything is fetched and decided, then serve whom one can and report the rest.
    #[default]
    Wait = 0,
    /// Serve who is ready, ask nobody, report the rest.
    Now = 1,
    /// Wait, and fail unless every active device that is not distrusted is served.
    All = 2,
}

/// What to encrypt, and for whom.
#[derive(Clone, Default)]
pub struct Draft {
    /// Bare JIDs; the own other devices are added by themselves.
    pub recipients: Vec<BareJid>,
    /// The plaintext in each namespace that is to be served.
    pub plaintexts: Vec<(Namespace, Zeroizing<Vec<u8>>)>,
    /// No plaintext: a fresh key is transported, in those namespaces that know such a thing.
    pub key_transport: bool,
    /// What to do about devices that are not ready.
    pub policy: EncryptPolicy,
    /// Namespaces for this draft, most preferred first; `None`: those of the account.
    pub namespaces: Option<Vec<Namespace>>,
    /// A word of the client's for requests and results.
    pub context: Option<String>,
}

impl Draft {
    /// The namespaces that serve it, most preferred first. A key goes only where key transport exists, unless the draft
    /// says otherwise and thereby fails.
    pub(in crate::manager) fn namespaces(&self, of_account: &[Namespace]) -> Vec<Namespace> {
        let fit = |namespace: &Namespace| !self.key_transport || namespace.profile().key_transport;
        match &self.namespaces {
            Some(namespaces) => namespaces.clone(),
            None => of_account.iter().copied().filter(fit).collect(),
        }
    }

    /// Its content, or a key without content, under a fresh key.
    pub(in crate::manager) fn seal(
        &self,
        namespace: Namespace,
        rng: &mut dyn Rng,
    ) -> Result<EncryptedPayload> {
        if self.key_transport {
            return payload::key_transport(namespace, rng);
        }
        let plaintext = self.plaintexts.iter().find(|(of, _)| *of == namespace);
        let (_, plaintext) = plaintext.ok_or(Error::from(Status::Plaintext))?;
        payload::encrypt(namespace, plaintext, rng)
    }

    /// Whether it has something to say in a namespace.
    pub(in crate::manager) fn check_content(&self, namespace: Namespace) -> Result<()> {
        if self.key_transport {
            return payload::check_transport(namespace);
        }
        let plaintext = self.plaintexts.iter().find(|(of, _)| *of == namespace);
        if plaintext.is_some_and(|(_, bytes)| !bytes.is_empty()) {
            Ok(())
        } else {
            Err(Status::Plaintext.into())
        }
    }
}
