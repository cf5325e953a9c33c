//! What a long life needs of the device under test beside `Device`.

use crate::support::world::server::jid;
use crate::support::world::{CDevice, Device, RustDevice};
use omemo::manager::api::keep::Keep;

pub trait Tested: Device {
    /// The process ends; `restart` begins the next one.
    fn close(&mut self);
    /// Forgets what this shell of a client was told and keeps.
    fn forget(&self);
    /// Forgets a JID but for the trust in its keys.
    fn purge(&self, of: &str);
}

impl Tested for RustDevice {
    fn close(&mut self) {
        // A manager that is only dropped keeps what its unfinished work holds.
        self.manager().close();
        self.manager.replace(None);
    }

    fn forget(&self) {
        self.done.take();
        self.order.take();
        self.asked.take();
        self.withdrawn.take();
        self.notices.take();
        self.prompts.take();
        self.headers.take();
        self.sent.take();
        std::mem::take(&mut *self.services.lines.lock().unwrap());
    }

    fn purge(&self, of: &str) {
        self.manager().purge_jid(&jid(of), Keep::Trust).unwrap();
    }
}

impl Tested for CDevice {
    fn close(&mut self) {
        CDevice::close(self);
    }

    fn forget(&self) {
        CDevice::forget(self);
    }

    fn purge(&self, of: &str) {
        assert_eq!(self.purge_jid(of, true), 0);
    }
}
