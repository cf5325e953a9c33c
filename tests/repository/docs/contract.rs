//! The contract is written once, in `src/ffi/contract.txt`: the header has it at its top, and `docs/contract.md` has each
//! of its numbered statements word for word, with explanations between them.

use super::{read, write};

const PAGE: &str = "docs/contract.md";
const WIDTH: usize = 118;

/// Names with an underscore in code marks; what stands between such marks already stays as it is.
fn marked(text: &str) -> String {
    let mut page = String::new();
    for (i, part) in text.split('`').enumerate() {
        if i % 2 == 1 {
            page.push_str(&format!("`{part}`"));
            continue;
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mut rest = part;
        while !rest.is_empty() {
            let end = rest.find(|c| is_name(c) != rest.starts_with(is_name)).unwrap_or(rest.len());
            let (piece, behind) = rest.split_at(end);
            page.push_str(&if piece.contains('_') { format!("`{piece}`") } else { piece.to_owned() });
            rest = behind;
        }
    }
    page
}

fn wrapped(text: &str) -> String {
    let (mut lines, mut line) = (String::new(), String::new());
    for word in text.split_whitespace() {
        if !line.is_empty() && line.len() + 1 + word.len() > WIDTH {
            lines.push_str(&line);
            lines.push('\n');
            line.clear();
        }
        line.push_str(if line.is_empty() { "" } else { " " });
        line.push_str(word);
    }
    lines + &line
}

/// The number that a line of the contract begins with, and what follows it.
fn numbered(line: &str) -> Option<(usize, &str)> {
    let (number, rest) = line.trim_start().split_once(' ')?;
    (line.len() - line.trim_start().len() + number.len() == 2).then_some(())?;
    Some((number.parse().ok()?, rest))
}

/// The statements as the page has them: `**1 Title.** Text`.
fn statements(contract: &str) -> Vec<String> {
    let body = contract.split("\nTHE CONTRACT ").nth(1).expect("the contract");
    let mut found: Vec<String> = Vec::new();
    for line in body.lines().skip(1).filter(|line| !line.is_empty()) {
        match numbered(line) {
            Some((number, text)) => {
                assert_eq!(number, found.len() + 1, "the statements are counted: {line}");
                found.push(text.to_owned());
            }
            None => {
                let last = found.last_mut().unwrap_or_else(|| panic!("no statement: {line}"));
                last.push_str(&format!(" {}", line.trim()));
            }
        }
    }
    let paragraph = |(i, text): (usize, String)| {
        let (title, text) = text.split_once(". ").expect("a title and a text");
        wrapped(&format!("**{} {title}.** {}", i + 1, marked(text)))
    };
    found.into_iter().enumerate().map(paragraph).collect()
}

fn is_statement(paragraph: &str) -> bool {
    paragraph.strip_prefix("**").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// The page with these statements in the place of its own; none if it has another number of them.
fn with_statements(page: &str, statements: &[String]) -> Option<String> {
    let mut left = statements.iter();
    let paragraphs: Option<Vec<&str>> = page
        .split("\n\n")
        .map(|old| if is_statement(old.trim()) { left.next().map(String::as_str) } else { Some(old) })
        .collect();
    paragraphs.filter(|_| left.next().is_none()).map(|paragraphs| paragraphs.join("\n\n"))
}

#[test]
fn the_contract_is_the_same_in_header_and_page() {
    let statements = statements(&read("src/ffi/contract.txt"));
    assert!(statements.len() > 20, "only {} statements", statements.len());
    let page = read(PAGE);
    let expected = with_statements(&page, &statements)
        .unwrap_or_else(|| panic!("{PAGE} has not {} statements", statements.len()));
    if std::env::var_os("OMEMO_UPDATE_DOCS").is_some() {
        write(PAGE, &expected);
        return;
    }
    let difference = std::iter::zip(page.lines(), expected.lines()).find(|(ours, theirs)| ours != theirs);
    assert!(
        page == expected,
        "{PAGE} differs: {difference:?}; OMEMO_UPDATE_DOCS=1 cargo test --test repository docs:: writes it"
    );
}

#[test]
fn statements_are_read_as_meant() {
    let text = "x\n\nTHE CONTRACT holds.\n\n 1 Once. An omemo_op, `a_b`: _new\n   or (OMEMO_OK).\n 2 Twice. Never.\n";
    let expected = ["**1 Once.** An `omemo_op`, `a_b`: `_new` or (`OMEMO_OK`).", "**2 Twice.** Never."];
    assert_eq!(statements(text), expected);
    assert_eq!(wrapped(&"word ".repeat(30)).lines().map(str::len).max(), Some(114));
    let page = "# P\n\n**1 old\ntext.**\n\nwhy\n\n**2 x**\n";
    let new = ["**1 A**".to_owned(), "**2 B**\n".to_owned()];
    assert_eq!(with_statements(page, &new).as_deref(), Some("# P\n\n**1 A**\n\nwhy\n\n**2 B**\n"));
    assert_eq!(with_statements(page, &new[..1]), None, "one is too many");
    assert_eq!(with_statements("# P\n\n**1 A**", &new), None, "one is missing");
    assert_eq!(numbered("10 Ten"), Some((10, "Ten")));
    assert_eq!(numbered("   5 000 devices"), None, "a number in a text is none of a statement");
}
