//! With other implementations: what is in a message, what is in none, and how many may be missing.

use crate::support::interop_run::{JULIET, PeerConfig, ROMEO};
use crate::support::peer::{Heard, Record, hex};
use crate::support::{NS_2, abi, settle};

with_peers![
    every_text_survives,
    messages_without_payload,
    five_hundred_skipped_by_us,
    five_hundred_skipped_by_them,
];
with_legacy_peers![key_transport];
with_python![
    a_thousand_skipped_by_us_and_one_more_refused,
    a_thousand_skipped_by_them_and_one_more_refused,
    stanzas_may_be_written_in_any_way,
];

fn every_text_survives(config: PeerConfig) {
    let long = "wherefore ".repeat(2_000);
    let texts = [
        "x",
        "<body xmlns='jabber:client'>not markup</body> & \"quotes\" 'too' ]]> &amp; &#x41;",
        "two\nlines and a\ttab",
        "Ünïcödé, русский, 日本語, 🌹💀, e\u{301} combining, \u{202e}turned",
        "  spaces at both ends  ",
        &long,
    ];
    config.each("texts", 1, 1, |run| {
        for text in texts {
            run.we_say(0, text);
            run.they_say(0, text);
        }
    });
}

// ------------------------------------------------------------------------------------------------ without content

fn messages_without_payload(config: PeerConfig) {
    config.each("messages without payload", 1, 1, |run| {
        // Ours: our answer to their key exchange, by which they know that their session is heard of.
        let first = run.they_seal("first", 1).remove(0);
        run.we_read(0, &first);
        settle(&[&run.ours[0]]);
        assert_eq!(run.peer.receive("j1"), [Heard::Empty]);
        let second = run.they_seal("second", 1).remove(0);
        assert!(!second.is_key_exchange(), "the session is confirmed");
        run.we_read(0, &second);
        // Theirs: the answer to our key exchange.
        run.add_ours(config.setup());
        run.exchange();
        let first = run.we_seal_by(1, "first");
        run.they_read(0, &first);
        let heard = run.ours[1].receive();
        assert_eq!(heard.len(), 1, "{heard:?}");
        for one in heard {
            assert_eq!((one.status, one.action), (abi::OK, abi::ACTION_HIDE));
            assert_eq!((&one.body, &one.plaintext), (&None, &None));
        }
        run.exchange();
        run.they_say(0, "and on it goes");
        run.we_say(1, "for ever");
    });
}

fn key_transport(config: PeerConfig) {
    config.each("key transport", 1, 1, |run| {
        if run.world.dice(2) == 0 {
            run.acquaint();
        }
        // Ours.
        let op = run.ours[0].start_draft(&[JULIET], |draft| {
            // SAFETY: the draft lives as long as this call.
            assert_eq!(unsafe { abi::omemo_draft_set_key_transport(draft) }, abi::OK);
        });
        let outcome = run.ours[0].finish(op.unwrap()).ok();
        let sent = outcome.keys[0].clone().expect("what was sent");
        assert_eq!((sent.key.len(), &sent.tag, sent.iv.as_ref().map(Vec::len)), (16, &None, Some(12)));
        let request = Record::new("decrypt").with("name", "j1").with("sender", ROMEO);
        let heard = run.peer.must(request.with("xml", &outcome.messages[0]));
        assert_eq!((heard.text("ok"), heard.get("text")), ("1", None), "{heard:?}");
        assert_eq!(heard.text("key"), hex(&sent.key));
        run.exchange();
        // Theirs, where the peer can send one.
        if config.kind.is_signal() {
            let request = Record::new("transport").with("name", "j1").with("to", ROMEO);
            let sent = run.peer.must(request);
            let read = run.ours[0].decrypt(JULIET, sent.text("xml")).unwrap();
            assert_eq!((read.status, read.action), (abi::OK, abi::ACTION_HIDE), "{}", read.text);
            assert_eq!((&read.body, &read.plaintext), (&None, &None));
            let read = read.key.expect("what was transported");
            assert_eq!(hex(&read.key), sent.text("key"));
            assert_eq!(hex(&read.tag.unwrap_or_default()), sent.text("tag"));
            assert_eq!(hex(&read.iv.unwrap_or_default()), sent.text("iv"));
        }
        run.exchange();
        run.they_say(0, "there was nothing to read");
        run.we_say(0, "there is now");
    });
}

// ------------------------------------------------------------------------------------------------ limits

fn five_hundred_skipped_by_us(config: PeerConfig) {
    config.heavy("500 skipped by us", |run| {
        let sealed = run.they_seal("n", 502);
        for index in [0, 501, 1, 2, 250, 499, 500] {
            run.we_read(0, &sealed[index]);
        }
        settle(&[&run.ours[0]]);
        run.exchange();
        run.we_say(0, "that was a lot");
        run.we_read(0, &sealed[3]);
        run.they_say(0, "there is more");
    });
}

fn five_hundred_skipped_by_them(config: PeerConfig) {
    config.heavy("500 skipped by them", |run| {
        let sealed = run.we_seal("n", 502);
        for index in [0, 501, 1, 2, 250, 499, 500] {
            run.they_read(0, &sealed[index]);
        }
        run.exchange();
        run.they_say(0, "that was a lot");
        run.they_read(0, &sealed[3]);
        run.we_say(0, "there is more");
    });
}

fn a_thousand_skipped_by_us_and_one_more_refused(config: PeerConfig) {
    config.with_records().heavy("1,000 skipped by us", |run| {
        let sealed = run.they_seal("n", 1003);
        run.we_read(0, &sealed[0]);
        settle(&[&run.ours[0]]);
        let before = run.ours[0].store.all();
        let refused = run.ours[0].decrypt(JULIET, &sealed[1002].stanza).unwrap();
        assert_eq!((refused.status, refused.body), (abi::ERR_TOO_MANY_SKIPPED, None));
        assert_eq!(run.ours[0].store.all(), before, "a refused message changes nothing");
        for index in [1001, 1, 2, 500, 999, 1000, 1002] {
            run.we_read(0, &sealed[index]);
        }
        run.lose_to_them();
        run.we_say(0, "that was a lot");
    });
}

fn a_thousand_skipped_by_them_and_one_more_refused(config: PeerConfig) {
    config.heavy("1,000 skipped by them", |run| {
        let sealed = run.we_seal("n", 1003);
        run.they_read(0, &sealed[0]);
        let refused = run.peer.decrypt("j1", ROMEO, &sealed[1002].stanza);
        assert!(
            matches!(&refused, Heard::Failed { cause, .. } if cause == "DoSProtectionException"),
            "{refused:?}"
        );
        for index in [1001, 1, 2, 500, 999, 1000, 1002] {
            run.they_read(0, &sealed[index]);
        }
        run.quiet();
        run.they_say(0, "that was a lot");
    });
}

// ------------------------------------------------------------------------------------------------ as strings

fn stanzas_may_be_written_in_any_way(config: PeerConfig) {
    let ways: [fn(&str) -> String; 5] = [
        // As python writes it, with prefixes.
        str::to_owned,
        // Without prefixes.
        |xml| xml.replace("ns0:", "").replace("xmlns:ns0", "xmlns"),
        // On lines, indented; base64 broken and indented as well.
        |xml| xml.replace("><ns0:", ">\n  <ns0:").replace("</ns0:payload", "\n   </ns0:payload"),
        // With attributes and children that nobody knows.
        |xml| {
            let first = if xml.contains("<ns0:keys ") { "<ns0:keys " } else { "<ns0:key " };
            let unknown = format!("<unknown xmlns='urn:u'><key rid='1'/></unknown>{first}");
            xml.replacen("<ns0:header ", "<ns0:header xmlns:f='urn:f' f:new='1' ", 1)
                .replacen(first, &unknown, 1)
        },
        // Payload before header.
        |xml| {
            let (start, rest) = xml.split_once("<ns0:header").expect("a header");
            let (header, payload) = rest.split_once("<ns0:payload>").expect("a payload");
            let payload = payload.strip_suffix("</ns0:encrypted>").expect("the end");
            format!("{start}<ns0:payload>{payload}<ns0:header{header}</ns0:encrypted>")
        },
    ];
    config.each("stanzas in any way", 1, 1, |run| {
        for (number, way) in ways.iter().enumerate() {
            let mut sealed = run.they_seal(&format!("way {number}"), 1).remove(0);
            sealed.stanza = way(&sealed.stanza);
            let read = run.we_read(0, &sealed);
            assert_eq!(read.namespace.as_deref(), Some(config.ours[0]));
            let bare = format!("<encrypted xmlns='{}'/>", config.ours.first().unwrap_or(&NS_2));
            let read = run.ours[0].decrypt(JULIET, &bare).unwrap();
            assert_ne!(read.status, abi::OK, "a stanza without header is refused, and does no harm");
            run.exchange();
            run.we_say(0, &format!("answer {number}"));
        }
    });
}
