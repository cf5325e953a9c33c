//! Every way to fail: one number, one name and one sentence each.
//!
//! Owns the list of statuses that the C API shows. Knows nothing of what failed: details are added by whoever
//! fails, and never hold a secret, a text or a JID.

use std::borrow::Cow;

macro_rules! statuses {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal, $text:literal;)*) => {
        /// How a call ended. 0 is success, failures are negative; numbers are for ever.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(i32)]
        pub enum Status { $($(#[$doc])* #[doc = $text] $variant = $number,)* }

        impl Status {
            /// All statuses, in the order of their declaration.
            pub const ALL: &'static [Status] = &[$(Status::$variant,)*];

            /// The status with this number.
            pub fn from_number(number: i32) -> Option<Status> {
                match number { $($number => Some(Status::$variant),)* _ => None }
            }

            /// The name that C programs use, with a NUL at its end.
            pub fn c_name(self) -> &'static str {
                match self { $(Status::$variant => concat!($name, "\0"),)* }
            }

            /// One English sentence, with a NUL at its end.
            pub fn c_text(self) -> &'static str {
                match self { $(Status::$variant => concat!($text, "\0"),)* }
            }
        }
    };
}

statuses! {
    Ok = 0, "OMEMO_OK", "Success.";
    // How the library is called.
    Null = -1, "OMEMO_ERR_NULL", "A pointer that must not be NULL is NULL.";
    Utf8 = -2, "OMEMO_ERR_UTF8", "A string is not UTF-8.";
    /// python-omemo: ValueError.
    Argument = -3, "OMEMO_ERR_ARGUMENT", "A value is out of range, or does not go with another one.";
    Jid = -4, "OMEMO_ERR_JID", "This is not a bare JID.";
    Busy = -5, "OMEMO_ERR_BUSY", "Called from within a service, or run within run.";
    Stale = -6, "OMEMO_ERR_STALE", "The request or operation is over.";
    WrongAnswer = -7, "OMEMO_ERR_WRONG_ANSWER", "This answer does not fit the question; the request stays open.";
    Cancelled = -8, "OMEMO_ERR_CANCELLED", "Cancelled, or the manager was freed.";
    Pending = -9, "OMEMO_ERR_PENDING", "The operation is not over yet.";
    NotFound = -10, "OMEMO_ERR_NOT_FOUND", "There is no such thing.";
    Limit = -11, "OMEMO_ERR_LIMIT", "The input breaks a limit.";
    /// python-omemo: XMLSchemaValidationError.
    Malformed = -12, "OMEMO_ERR_MALFORMED", "Bytes from outside cannot be read.";
    NotReady = -13, "OMEMO_ERR_NOT_READY", "The account has no device id yet: it has never been connected.";
    Internal = -99, "OMEMO_ERR_INTERNAL", "A bug of this library; nothing was committed.";
    // Storage.
    /// python-omemo: StorageException.
    Storage = -100, "OMEMO_ERR_STORAGE", "Reading or writing failed; nothing changed, the same call may be made again.";
    StorageLocked = -101, "OMEMO_ERR_STORAGE_LOCKED", "Somebody else has the store open.";
    /// python-omemo: TypeError, KeyError, NothingException.
    StorageCorrupt = -102, "OMEMO_ERR_STORAGE_CORRUPT", "What is stored contradicts itself; nothing is made anew beside it.";
    StorageVersion = -104, "OMEMO_ERR_STORAGE_VERSION", "The store was written by a newer version.";
    StorageAccount = -105, "OMEMO_ERR_STORAGE_ACCOUNT", "The store belongs to another JID.";
    // Account and trust.
    /// python-omemo: UnknownNamespace.
    UnknownNamespace = -200, "OMEMO_ERR_UNKNOWN_NAMESPACE", "This namespace is not served.";
    /// python-omemo: UnknownTrustLevel.
    UnknownTrustLevel = -201, "OMEMO_ERR_UNKNOWN_TRUST_LEVEL", "This trust level is not known.";
    /// python-omemo: TrustDecisionFailed.
    TrustDecisionFailed = -202, "OMEMO_ERR_TRUST_DECISION_FAILED", "The question about trust was declined.";
    /// python-omemo: StillUndecided.
    StillUndecided = -203, "OMEMO_ERR_STILL_UNDECIDED", "The question about trust was answered, but a device is still undecided.";
    /// python-omemo: NotImplementedError of the legacy backend.
    Label = -204, "OMEMO_ERR_LABEL", "A label that no served namespace can carry, or one that is too long.";
    // Encryption: of the operation, or of one device in its report.
    /// python-omemo: NoEligibleDevices.
    NoEligibleDevices = -300, "OMEMO_ERR_NO_ELIGIBLE_DEVICES", "A recipient can be served on no device.";
    NoDevices = -301, "OMEMO_ERR_NO_DEVICES", "The JID announces no device at all.";
    Undecided = -302, "OMEMO_ERR_UNDECIDED", "Nobody has judged the key of this device.";
    Distrusted = -303, "OMEMO_ERR_DISTRUSTED", "The key of this device is judged distrusted.";
    IdentityChanged = -304, "OMEMO_ERR_IDENTITY_CHANGED", "The device shows another key than the one that was judged.";
    IdentityMismatch = -305, "OMEMO_ERR_IDENTITY_MISMATCH", "The device shows different keys in the two namespaces.";
    /// python-omemo: BundleNotFound.
    BundleNotFound = -306, "OMEMO_ERR_BUNDLE_NOT_FOUND", "The device has no bundle.";
    BundleBad = -307, "OMEMO_ERR_BUNDLE_BAD", "The bundle can be read, but not used: signature, keys or ids are wrong.";
    /// python-omemo: KeyExchangeFailed; XEdDSAException.
    KeyExchangeFailed = -308, "OMEMO_ERR_KEY_EXCHANGE_FAILED", "The key exchange failed.";
    Plaintext = -309, "OMEMO_ERR_PLAINTEXT", "The plaintext for a namespace that is needed is missing or empty.";
    // Network: of an operation, or of one row of its report.
    Timeout = -400, "OMEMO_ERR_TIMEOUT", "No answer came in time.";
    Offline = -401, "OMEMO_ERR_OFFLINE", "Not connected.";
    /// python-omemo: BundleUploadFailed.
    BundleUploadFailed = -402, "OMEMO_ERR_BUNDLE_UPLOAD_FAILED", "The own bundle could not be published.";
    /// python-omemo: BundleDownloadFailed.
    BundleDownloadFailed = -403, "OMEMO_ERR_BUNDLE_DOWNLOAD_FAILED", "A bundle could not be fetched.";
    /// python-omemo: BundleDeletionFailed.
    BundleDeletionFailed = -404, "OMEMO_ERR_BUNDLE_DELETION_FAILED", "A bundle could not be deleted.";
    /// python-omemo: DeviceListUploadFailed.
    DeviceListUploadFailed = -405, "OMEMO_ERR_DEVICE_LIST_UPLOAD_FAILED", "The own device list could not be published.";
    /// python-omemo: DeviceListDownloadFailed.
    DeviceListDownloadFailed = -406, "OMEMO_ERR_DEVICE_LIST_DOWNLOAD_FAILED", "A device list could not be fetched.";
    /// python-omemo: MessageSendingFailed.
    MessageSendingFailed = -407, "OMEMO_ERR_MESSAGE_SENDING_FAILED", "A message could not be sent.";
    PublishLimit = -408, "OMEMO_ERR_PUBLISH_LIMIT", "Too many publications on one node in a day; it goes on later.";
    // Decryption.
    /// python-omemo: DecryptionFailed.
    DecryptionFailed = -500, "OMEMO_ERR_DECRYPTION_FAILED", "The message could not be authenticated.";
    /// python-omemo: DuplicateMessageException, inside DecryptionFailed.
    Duplicate = -501, "OMEMO_ERR_DUPLICATE", "The message was decrypted before.";
    /// python-omemo: TooManySkippedMessageKeys; DoSProtectionException.
    TooManySkipped = -502, "OMEMO_ERR_TOO_MANY_SKIPPED", "The message skips more keys than allowed.";
    /// python-omemo: MessageNotForUs.
    NotForUs = -503, "OMEMO_ERR_NOT_FOR_US", "The message holds no key for this device.";
    /// python-omemo: NoSession.
    NoSession = -504, "OMEMO_ERR_NO_SESSION", "There is no session with the sender's device.";
    /// python-omemo: SenderNotFound.
    SenderNotFound = -505, "OMEMO_ERR_SENDER_NOT_FOUND", "Who sent this cannot be told.";
    /// python-omemo: SenderDistrusted.
    SenderDistrusted = -506, "OMEMO_ERR_SENDER_DISTRUSTED", "The sender's key is judged distrusted.";
    /// python-omemo: PublicDataInconsistency.
    PublicDataInconsistency = -507, "OMEMO_ERR_PUBLIC_DATA_INCONSISTENCY", "The sender's key is not the one known for the device.";
    PreKeyUnknown = -508, "OMEMO_ERR_PRE_KEY_UNKNOWN", "The key exchange names a pre key that does not exist any more.";
    OwnEcho = -509, "OMEMO_ERR_OWN_ECHO", "This is our own message, sent back to us.";
    Affix = -510, "OMEMO_ERR_AFFIX", "The content says that somebody else has written it.";
}

impl Status {
    /// The name that C programs use.
    pub fn name(self) -> &'static str {
        self.c_name().trim_end_matches('\0')
    }

    /// One English sentence.
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
}

/// The result of nearly everything here.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failure with a sentence of its own. The sentence must hold no secret, no text and no JID.
    pub fn new(status: Status, detail: impl Into<Cow<'static, str>>) -> Error {
        Error { status, detail: detail.into() }
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
        Error { status, detail: Cow::Borrowed(status.text()) }
    }
}
