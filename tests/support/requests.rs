//! How the requests of clients are answered: by number, through the C functions.

use super::abi;
use super::client::Client;
use super::values::c_string;
use super::world::{Answer, World};

/// Runs all clients and gives all answers until nothing happens any more; does not wait for deadlines.
pub fn settle(clients: &[&Client]) {
    let Some(first) = clients.first() else { return };
    for _ in 0..100_000 {
        for client in clients {
            client.run();
        }
        let given = give_due_answers(&first.world);
        let busy = clients.iter().any(|client| client.timeout() == 0);
        if given == 0 && !busy && !first.pass_time(false) {
            return;
        }
    }
    panic!("the clients never come to rest");
}

/// Gives the answers that are due; returns how many.
pub fn give_due_answers(world: &World) -> usize {
    let due = world.due_answers();
    let count = due.len();
    for (request, answer) in due {
        give(request, &answer);
    }
    count
}

/// Answers a request; returns the status of the call.
pub fn give(request: u64, answer: &Answer) -> i32 {
    // SAFETY: numbers, and a string with its length.
    unsafe {
        match answer {
            Answer::Done => abi::omemo_request_resolve(request),
            Answer::Xml(xml) => abi::omemo_request_resolve_xml(request, xml.as_ptr().cast(), xml.len()),
            Answer::Reject(reason) => abi::omemo_request_reject(request, *reason),
            Answer::Silence => abi::OK,
        }
    }
}

/// Sets the level of one device in a trust request that was held.
pub fn note_level(request: u64, index: usize, level: &str) -> i32 {
    // SAFETY: numbers and a string that lives for the call.
    unsafe { abi::omemo_request_decide(request, index, c_string(level).as_ptr()) }
}

/// Answers a trust request that was held: a level for each device.
pub fn decide(request: u64, levels: &[&str]) -> i32 {
    for (index, level) in levels.iter().enumerate() {
        let status = note_level(request, index, level);
        if status != abi::OK {
            return status;
        }
    }
    give(request, &Answer::Done)
}
