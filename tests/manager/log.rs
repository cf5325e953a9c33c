//! The log says what happens: at DEBUG each message, request and commit, at INFO what happens to the account; and never
//! a JID, a text or a secret.

use super::help::*;
use super::world::*;
use omemo::manager::api::request::{Answer, Reason};
use omemo::protocol::namespace::Namespace;

in_both_namespaces! {
    each_message_that_is_read_is_a_line,
    each_message_that_fails_says_why,
    each_request_is_a_line_when_asked_and_when_answered,
    each_commit_is_a_line,
    what_happens_to_the_account_is_said_at_info,
    r29_no_line_holds_a_jid_or_a_text,
}

fn lines(client: &RustDevice) -> Vec<String> {
    std::mem::take(&mut *client.services.lines.lock().unwrap())
}

fn each_message_that_is_read_is_a_line(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let message = juliet.say(&romeo.jid, "text", &mut server);
    lines(&romeo);
    romeo.read(&juliet.jid, &message);
    let all = lines(&romeo);
    let device = juliet.id().to_string();
    assert!(all.iter().any(|line| line.starts_with("Debug") && line.contains(&device)), "{all:?}");
    lines(&juliet);
    juliet.say(&romeo.jid, "text", &mut server);
    let all = lines(&juliet);
    let device = romeo.id().to_string();
    assert!(all.iter().any(|line| line.starts_with("Debug") && line.contains(&device)), "{all:?}");
}

fn each_message_that_fails_says_why(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    lose_sessions(&romeo, &mut server);
    let message = juliet.say(&romeo.jid, "text", &mut server);
    lines(&romeo);
    romeo.read(&juliet.jid, &message);
    let all = lines(&romeo);
    let device = juliet.id().to_string();
    assert!(all.iter().any(|line| line.contains(&device)), "{all:?}");
}

fn each_request_is_a_line_when_asked_and_when_answered(ns: Namespace) {
    let (mut server, romeo, _) = two(ns);
    RawDevice::of(ns, TYBALT, 5).publish(&mut server);
    lines(&romeo);
    let before = romeo.asked.borrow().len();
    romeo.say(&jid(TYBALT), "text", &mut server);
    let asked = romeo.asked.borrow().len() - before;
    let debug = lines(&romeo).iter().filter(|line| line.starts_with("Debug")).count();
    assert!(debug >= 2 * asked, "{asked} questions, {debug} lines");
}

fn each_commit_is_a_line(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let message = juliet.say(&romeo.jid, "text", &mut server);
    lines(&romeo);
    let before = romeo.storage.commits();
    romeo.read(&juliet.jid, &message);
    let commits = romeo.storage.commits() - before;
    let all = lines(&romeo);
    let said = all.iter().filter(|line| line.to_lowercase().contains("commit")).count();
    assert!(said >= commits, "{commits} commits: {all:?}");
}

fn what_happens_to_the_account_is_said_at_info(ns: Namespace) {
    let (mut server, romeo, _) = two(ns);
    let all = lines(&romeo);
    assert!(all.iter().any(|line| line.starts_with("Info")), "the first connect: {all:?}");
    romeo.manager().disconnected().unwrap();
    assert!(lines(&romeo).iter().any(|line| line.starts_with("Info")), "the stream is down");
    RawDevice::of(ns, ROMEO, romeo.id()).publish(&mut server);
    romeo.connect(&mut server);
    assert!(lines(&romeo).iter().any(|line| line.starts_with("Info")), "the id was given up");
}

fn r29_no_line_holds_a_jid_or_a_text(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    for reason in [Reason::Failed, Reason::NotFound, Reason::Timeout, Reason::Declined] {
        romeo.begin_refresh(&jid(TYBALT));
        romeo.run_with(|_| Some(Answer::Rejected(reason)));
    }
    let message = juliet.say(&romeo.jid, "Wherefore art thou", &mut server);
    romeo.read(&juliet.jid, &message);
    let mut key = String::new();
    juliet.key().iter().for_each(|byte| key.push_str(&format!("{byte:02x}")));
    for line in lines(&romeo).into_iter().chain(lines(&juliet)) {
        for secret in ["capulet", "montague", "verona", "Wherefore", &key[..16]] {
            assert!(!line.contains(secret), "{line}");
        }
        assert!(!line.contains('\n') && !line.contains('\u{1b}'));
    }
}
