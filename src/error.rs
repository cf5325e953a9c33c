//! All statuses, each with a number, a name and a sentence.
//!
//! Owns the table of statuses that the C API shows. The code that fails adds details, which never hold a secret, a
//! message text or a JID.

use std::borrow::Cow;

/// The one table of statuses, for the macro `$rows`: variant, number, name in C, sentence, and the exception of
/// python-omemo ("" where it has none). The comments of the header come from it, and docs/errors.md is held against it.
macro_rules! for_each_status {
    ($rows:ident) => {
        $rows! {
            Ok = 0, OMEMO_OK, "Success.", "";
            // How the library is called.
            Null = -1, OMEMO_ERR_NULL, "A pointer that must not be NULL is NULL.", "";
            Utf8 = -2, OMEMO_ERR_UTF8, "A string is not UTF-8.", "";
            Argument = -3, OMEMO_ERR_ARGUMENT, "A value is out of range, or contradicts another one.", "ValueError";
            Jid = -4, OMEMO_ERR_JID, "The string is not a bare JID.", "";
            Busy = -5, OMEMO_ERR_BUSY, "The call came from inside a service, or the manager is already being run.", "";
            Stale = -6, OMEMO_ERR_STALE, "The request or operation is over.", "";
            WrongAnswer = -7, OMEMO_ERR_WRONG_ANSWER, "The answer does not fit the request, which stays open.", "";
            Cancelled = -8, OMEMO_ERR_CANCELLED, "The operation was cancelled, or the manager was freed.", "";
            Pending = -9, OMEMO_ERR_PENDING, "The operation is not over yet.", "";
            NotFound = -10, OMEMO_ERR_NOT_FOUND, "The object that the call names does not exist.", "";
            Limit = -11, OMEMO_ERR_LIMIT, "The input exceeds a limit.", "";
            Malformed = -12, OMEMO_ERR_MALFORMED, "The input cannot be parsed.", "XMLSchemaValidationError";
            NotReady = -13, OMEMO_ERR_NOT_READY, "The account has no device id yet, because it has never been connected.", "";
            Internal = -99, OMEMO_ERR_INTERNAL, "The library has a bug; nothing was committed.", "";
            // Storage.
            Storage = -100, OMEMO_ERR_STORAGE, "Reading or writing the store failed; nothing changed, and the same call may be made again.", "StorageException";
            StorageLocked = -101, OMEMO_ERR_STORAGE_LOCKED, "The store is already open elsewhere.", "";
            StorageCorrupt = -102, OMEMO_ERR_STORAGE_CORRUPT, "The stored data contradict each other; the library does not create new data in their place.", "TypeError, KeyError, NothingException";
            StorageKey = -103, OMEMO_ERR_STORAGE_KEY, "The store is sealed, and its key or passphrase is wrong or was not given.", "";
            StorageVersion = -104, OMEMO_ERR_STORAGE_VERSION, "The store was written by a newer version of the library.", "";
            StorageAccount = -105, OMEMO_ERR_STORAGE_ACCOUNT, "The store belongs to another JID.", "";
            StorageRollback = -106, OMEMO_ERR_STORAGE_ROLLBACK, "The account was moved to another store; this one is an older copy of it.", "";
            StorageNotEmpty = -107, OMEMO_ERR_STORAGE_NOT_EMPTY, "The store must be empty for this call, and is not.", "";
            StorageUnfinished = -108, OMEMO_ERR_STORAGE_UNFINISHED, "The store holds a copy that was not completed; make the same copy again.", "";
            // Account and trust.
            UnknownNamespace = -200, OMEMO_ERR_UNKNOWN_NAMESPACE, "The namespace is unknown, or not in use.", "UnknownNamespace";
            UnknownTrustLevel = -201, OMEMO_ERR_UNKNOWN_TRUST_LEVEL, "The name of the trust level is unknown.", "UnknownTrustLevel";
            TrustDecisionFailed = -202, OMEMO_ERR_TRUST_DECISION_FAILED, "The request for a trust decision was rejected.", "TrustDecisionFailed";
            StillUndecided = -203, OMEMO_ERR_STILL_UNDECIDED, "The request for a trust decision was answered, but a device is still undecided.", "StillUndecided";
            Label = -204, OMEMO_ERR_LABEL, "The label is not allowed or not signed, or no namespace in use can transmit it.", "NotImplementedError of the legacy backend";
            // Encryption: of the operation, or of one device in its report.
            NoEligibleDevices = -300, OMEMO_ERR_NO_ELIGIBLE_DEVICES, "A recipient has no device that the message can be encrypted for.", "NoEligibleDevices";
            NoDevices = -301, OMEMO_ERR_NO_DEVICES, "The JID announces no device.", "";
            Undecided = -302, OMEMO_ERR_UNDECIDED, "No trust decision was made about the key of the device.", "";
            Distrusted = -303, OMEMO_ERR_DISTRUSTED, "The key of the device is distrusted.", "";
            IdentityChanged = -304, OMEMO_ERR_IDENTITY_CHANGED, "The device shows a different identity key from the known one.", "";
            IdentityMismatch = -305, OMEMO_ERR_IDENTITY_MISMATCH, "The device shows different identity keys in the two namespaces.", "";
            BundleNotFound = -306, OMEMO_ERR_BUNDLE_NOT_FOUND, "The device has no bundle.", "BundleNotFound";
            BundleBad = -307, OMEMO_ERR_BUNDLE_BAD, "The bundle can be read, but not used: a signature, key or id is wrong.", "";
            KeyExchangeFailed = -308, OMEMO_ERR_KEY_EXCHANGE_FAILED, "The key exchange failed.", "KeyExchangeFailed; XEdDSAException";
            Plaintext = -309, OMEMO_ERR_PLAINTEXT, "The plaintext for a required namespace is missing or empty.", "";
            Unresponsive = -310, OMEMO_ERR_UNRESPONSIVE, "The device has not answered for as many messages as the configuration allows.", "";
            // Network: of an operation, or of one row of its report.
            Timeout = -400, OMEMO_ERR_TIMEOUT, "No answer came in time.", "";
            Offline = -401, OMEMO_ERR_OFFLINE, "The account is not connected.", "";
            BundleUploadFailed = -402, OMEMO_ERR_BUNDLE_UPLOAD_FAILED, "The bundle of this device could not be published.", "BundleUploadFailed";
            BundleDownloadFailed = -403, OMEMO_ERR_BUNDLE_DOWNLOAD_FAILED, "A bundle could not be fetched.", "BundleDownloadFailed";
            BundleDeletionFailed = -404, OMEMO_ERR_BUNDLE_DELETION_FAILED, "A bundle could not be deleted.", "BundleDeletionFailed";
            DeviceListUploadFailed = -405, OMEMO_ERR_DEVICE_LIST_UPLOAD_FAILED, "The device list of this account could not be published.", "DeviceListUploadFailed";
            DeviceListDownloadFailed = -406, OMEMO_ERR_DEVICE_LIST_DOWNLOAD_FAILED, "A device list could not be fetched.", "DeviceListDownloadFailed";
            MessageSendingFailed = -407, OMEMO_ERR_MESSAGE_SENDING_FAILED, "A message could not be sent.", "MessageSendingFailed";
            PublishLimit = -408, OMEMO_ERR_PUBLISH_LIMIT, "A node was published too often in one day; publishing continues later.", "";
            // Decryption.
            DecryptionFailed = -500, OMEMO_ERR_DECRYPTION_FAILED, "The message could not be authenticated.", "DecryptionFailed";
            Duplicate = -501, OMEMO_ERR_DUPLICATE, "The message was decrypted before.", "DuplicateMessageException, inside DecryptionFailed";
            TooManySkipped = -502, OMEMO_ERR_TOO_MANY_SKIPPED, "The message skips more keys than allowed.", "TooManySkippedMessageKeys; DoSProtectionException";
            NotForUs = -503, OMEMO_ERR_NOT_FOR_US, "The message contains no key for this device.", "MessageNotForUs";
            NoSession = -504, OMEMO_ERR_NO_SESSION, "There is no session with the sender's device.", "NoSession";
            SenderNotFound = -505, OMEMO_ERR_SENDER_NOT_FOUND, "The sender cannot be determined.", "SenderNotFound";
            SenderDistrusted = -506, OMEMO_ERR_SENDER_DISTRUSTED, "The sender's key is distrusted.", "SenderDistrusted";
            PublicDataInconsistency = -507, OMEMO_ERR_PUBLIC_DATA_INCONSISTENCY, "The sender's key is not the known key of the device.", "PublicDataInconsistency";
            PreKeyUnknown = -508, OMEMO_ERR_PRE_KEY_UNKNOWN, "The key exchange uses a pre key that no longer exists.", "";
            OwnEcho = -509, OMEMO_ERR_OWN_ECHO, "The message was sent by this device and came back.", "";
            Affix = -510, OMEMO_ERR_AFFIX, "The content names a different sender from that of the message.", "";
        }
    };
}
pub(crate) use for_each_status;

macro_rules! statuses {
    ($($variant:ident = $number:literal, $name:ident, $text:literal, $python:literal;)*) => {
        /// How a call ended. 0 is success, failures are negative, and a number never changes its meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(i32)]
        pub enum Status { $(#[doc = $text] $variant = $number,)* }

        impl Status {
            /// All statuses, in the order of the table.
            pub const ALL: &'static [Status] = &[$(Status::$variant,)*];

            /// Returns the status with this number.
            pub fn from_number(number: i32) -> Option<Status> {
                match number { $($number => Some(Status::$variant),)* _ => None }
            }

            /// Returns the name in C, with a NUL at its end.
            pub fn c_name(self) -> &'static str {
                match self { $(Status::$variant => concat!(stringify!($name), "\0"),)* }
            }

            /// Returns the English sentence, with a NUL at its end.
            pub fn c_text(self) -> &'static str {
                match self { $(Status::$variant => concat!($text, "\0"),)* }
            }

            /// Returns what python-omemo raises in the same case; "" where it has no exception.
            pub fn python(self) -> &'static str {
                match self { $(Status::$variant => $python,)* }
            }
        }
    };
}

for_each_status!(statuses);

impl Status {
    /// Returns the name in C.
    pub fn name(self) -> &'static str {
        self.c_name().trim_end_matches('\0')
    }

    /// Returns one English sentence.
    pub fn text(self) -> &'static str {
        self.c_text().trim_end_matches('\0')
    }
}

/// A failure: its status, and a sentence that tells more where there is more to tell.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Error {
    status: Status,
    detail: Cow<'static, str>,
    code: Option<&'static str>,
}

/// The result of nearly everything here.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failure with a sentence of its own. The sentence must hold no secret, no text and no JID.
    pub fn new(status: Status, detail: impl Into<Cow<'static, str>>) -> Error {
        Error { status, detail: detail.into(), code: None }
    }

    /// The same with the name of the code by which what is below (SQLite) calls it, for the log, which gets no sentences
    /// from outside.
    #[must_use]
    pub fn with_code(self, code: &'static str) -> Error {
        Error { code: Some(code), ..self }
    }

    /// The name of a code from below, where there is one.
    pub fn code(&self) -> Option<&'static str> {
        self.code
    }

    /// Its name for the log: that of the status, with the code from below in brackets.
    pub fn log_name(&self) -> Cow<'static, str> {
        match self.code {
            Some(code) => Cow::Owned(format!("{} ({code})", self.status.name())),
            None => Cow::Borrowed(self.status.name()),
        }
    }

    /// Its status.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Whether it is one of the store: nothing can be said of what was to be stored.
    pub fn is_storage(&self) -> bool {
        (-199..=-100).contains(&(self.status as i32))
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Error {
        Error { status, detail: Cow::Borrowed(status.text()), code: None }
    }
}
