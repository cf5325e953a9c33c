//! placeholder: the LEAD is writing this right now; MANAGER helpers: stop and read the end of /tmp/plan.md.

use super::clock::Now;
use super::decrypt::Decrypted;
use super::devices::Device;
use super::host::{Notice, Services};
use super::{Config, own};
use crate::crypto::rng::Rng;
use crate::error::{Result, Status};
use crate::protocol::address::{BareJid, DeviceId};
use crate::protocol::device_list::DeviceList;
use crate::protocol::message::Message;
use crate::storage::Storage;
use std::sync::Arc;

pub(crate) struct Account {}

#[allow(unused_variables, clippy::unused_self)]
impl Account {
    pub(super) fn open(
        config: Config,
        storage: Arc<dyn Storage>,
        services: Arc<dyn Services>,
        rng: Box<dyn Rng>,
        now: Now,
    ) -> Result<Account> {
        let _ = own::connected;
        Ok(Account {})
    }
    pub(super) fn take_notices(&mut self) -> Vec<Notice> {
        Vec::new()
    }
    pub(super) fn take_new_work(&mut self) -> bool {
        false
    }
    pub(super) fn connected(&mut self) {}
    pub(super) fn decrypt(
        &mut self,
        from: Option<&BareJid>,
        room: Option<&BareJid>,
        message: &Message,
        now: Now,
    ) -> Result<Decrypted> {
        Err(Status::Internal.into())
    }
    pub(super) fn update_device_list(&mut self, jid: &BareJid, list: &DeviceList, now: Now) -> Result<()> {
        Err(Status::Internal.into())
    }
    pub(super) fn devices(&mut self, jid: Option<&BareJid>) -> Result<Vec<Device>> {
        Err(Status::Internal.into())
    }
    pub(super) fn set_trust(&mut self, jid: &BareJid, key: &[u8; 32], level: &str) -> Result<()> {
        Err(Status::Internal.into())
    }
    pub(super) fn accept_identity(&mut self, jid: &BareJid, device: DeviceId, key: &[u8; 32]) -> Result<()> {
        Err(Status::Internal.into())
    }
}
