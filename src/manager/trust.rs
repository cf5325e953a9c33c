//! Trust: levels that belong to a JID and an identity key, whatever devices and namespaces show that key.
//!
//! A key is told from others by its Curve25519 form, so that the sign of its Ed25519 form, which legacy hides, makes no
//! second entry.

use super::account::Account;
use super::api::device::{CoreTrust, Device};
use super::api::services::LogLevel;
use super::clock::Now;
use super::layout::SessionKey;
use super::records::{DeviceRecord, JidRecord, TrustRecord};
use super::sessions::Sessions;
use crate::crypto::convert;
use crate::crypto::identity::IdentityKey;
use crate::error::{Error, Result, Status};
use crate::protocol::address::{BareJid, DeviceId};
use crate::protocol::namespace::Namespace;

/// The sign of an identity key that no namespace has told yet.
pub(super) const SIGN_UNKNOWN: u32 = 2;

impl DeviceRecord {
    /// The identity key in Ed25519 form; its sign is 0 while it is unknown.
    pub(super) fn identity_ed(&self) -> Option<[u8; 32]> {
        self.ed.as_slice().try_into().ok()
    }

    /// Takes a key in, for which nobody vouches yet.
    pub(super) fn set_identity(&mut self, mont: &[u8; 32], ed: Option<&[u8; 32]>) {
        self.identity = mont.to_vec();
        self.ed = ed.copied().or_else(|| convert::mont_to_ed(mont, false)).map(Vec::from).unwrap_or_default();
        self.sign = match ed {
            Some(ed) => u32::from(ed.last().is_some_and(|byte| byte & 0x80 != 0)),
            None => SIGN_UNKNOWN,
        };
        self.seen.clear();
    }
}

impl JidRecord {
    /// The device with this id.
    pub(super) fn device(&self, id: DeviceId) -> Option<&DeviceRecord> {
        self.devices.iter().find(|device| device.id == id.get())
    }

    /// The level of a key, if anybody has judged it.
    pub(super) fn level(&self, identity: &[u8]) -> Option<&str> {
        self.trust.iter().find(|trust| trust.identity == identity).map(|trust| trust.level.as_str())
    }

    fn set_level(&mut self, identity: &[u8], level: &str) {
        match self.trust.iter_mut().find(|trust| trust.identity == identity) {
            Some(trust) => level.clone_into(&mut trust.level),
            None => self.trust.push(TrustRecord { identity: identity.to_vec(), level: level.to_owned() }),
        }
    }
}

impl Account {
    /// A device as it is shown and judged; its verdict is still that of its level's name.
    pub(super) fn describe(&self, jid: &BareJid, record: &JidRecord, device: &DeviceRecord) -> Device {
        let level = record.level(&device.identity).unwrap_or(&self.config.default_trust_level_name);
        Device {
            jid: jid.clone(),
            id: device.id,
            identity_key: device.identity_ed(),
            trust_level_name: level.to_owned(),
            core_trust: CoreTrust::Undecided,
            active: device.active.iter().filter_map(|code| Namespace::from_code(*code)).collect(),
            conflicting_key: device.shown.as_slice().try_into().ok(),
            preferred: Namespace::from_code(device.preferred),
            downgraded: device.downgraded,
        }
    }

    /// What a device's level comes to.
    pub(super) fn judge(&self, device: &Device) -> Result<CoreTrust> {
        self.services.evaluate_trust(device)
    }

    /// The same where nobody can be told of a level that is not known: nobody has decided.
    pub(super) fn judge_or_undecided(&self, device: &Device) -> CoreTrust {
        self.judge(device).unwrap_or_else(|_| {
            self.log(LogLevel::Warn, "A trust level could not be evaluated; it counts as undecided.");
            CoreTrust::Undecided
        })
    }

    /// Whether anybody knows a level.
    pub(super) fn check_level(&self, level: &str) -> Result<()> {
        let probe = Device {
            jid: self.config.jid.clone(),
            id: 0,
            identity_key: None,
            trust_level_name: level.to_owned(),
            core_trust: CoreTrust::Undecided,
            active: Vec::new(),
            conflicting_key: None,
            preferred: None,
            downgraded: false,
        };
        self.judge(&probe).map(|_| ())
    }

    /// Judges a key of a JID.
    pub(super) fn set_trust(&mut self, jid: &BareJid, key: &[u8; 32], level: &str) -> Result<()> {
        self.check_level(level)?;
        let bad = |_| Error::new(Status::Argument, "This is not an identity key.");
        let identity = IdentityKey::from_ed(key).map_err(bad)?;
        self.transact(|account| {
            account.jid_mut(jid)?.set_level(identity.mont(), level);
            Ok(())
        })
    }

    /// Notes the answers to a question about trust; they hold for the keys that were asked about.
    pub(super) fn note_levels(&mut self, levels: &[(BareJid, [u8; 32], String)]) -> Result<()> {
        self.transact(|account| {
            for (jid, key, level) in levels {
                let identity = IdentityKey::from_ed(key)?;
                account.jid_mut(jid)?.set_level(identity.mont(), level);
            }
            Ok(())
        })
    }

    /// Accepts that a device shows this key now. Its sessions are given up, and nobody has judged the key yet.
    pub(super) fn accept_identity(
        &mut self,
        jid: &BareJid,
        device: DeviceId,
        key: &[u8; 32],
        now: Now,
    ) -> Result<()> {
        self.transact(|account| {
            let record = account.jid(jid)?;
            let known = record.device(device).ok_or(Error::from(Status::NotFound))?;
            if known.shown.is_empty() {
                return Err(Error::new(Status::NotFound, "The device shows no other key."));
            }
            let shown: [u8; 32] = known.shown.as_slice().try_into().map_err(|_| Status::Internal)?;
            let identity = IdentityKey::from_ed(&shown)?;
            // The sign of the key that was looked at may be the other one: it is the same key.
            if convert::ed_to_mont(key).as_ref() != Some(identity.mont()) {
                return Err(Status::IdentityChanged.into());
            }
            let default_trust_level_name = account.config.default_trust_level_name.clone();
            let record = account.jid_mut(jid)?;
            // A key that was judged elsewhere keeps its level only if it is on another device.
            let elsewhere = record
                .devices
                .iter()
                .any(|other| other.id != device.get() && other.identity == identity.mont());
            if !elsewhere && record.level(identity.mont()).is_some() {
                record.set_level(identity.mont(), &default_trust_level_name);
            }
            if let Some(known) = record.devices.iter_mut().find(|known| known.id == device.get()) {
                known.set_identity(identity.mont(), Some(identity.ed()));
                known.seen = vec![known.shown_in];
                known.shown.clear();
            }
            for namespace in Namespace::ALL {
                let key = SessionKey { jid: jid.clone(), device, namespace };
                Sessions::new(account, &key, now).retire()?;
                account.connection.forgive(&key);
            }
            Ok(())
        })
    }
}
