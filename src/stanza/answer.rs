//! What the answer to a question means: found, certainly not there, or anybody's guess.

/// The meaning of an answer. "Not there" is kept apart from every other failure, because upon "no list" one is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// The thing that was asked for.
    Found(T),
    /// The server says that it does not exist.
    NotFound,
    /// Anything else: another error, or what cannot be read.
    Failed,
}
