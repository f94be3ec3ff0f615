//! House rules that the compiler does not know: which layer may use which, where SQL and IO may stand, and that every
//! protocol method has its file. ARCHITECTURE.md states them; here they are enforced.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A source file: its path below the workspace root, and its text without test modules.
struct Source {
    path: String,
    text: String,
    product: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(dir: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files_below(&path, extension, found);
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
}

/// All Rust files of both crates.
fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    files_below(&root().join("src"), "rs", &mut paths);
    assert!(paths.len() > 30, "only {} files under src/: is the path right?", paths.len());
    paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let path = path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
            Source { product: without_tests(&text), path, text }
        })
        .filter(|source| !source.path.ends_with("tests.rs"))
        .filter(|source| !["/tests/", "/benches/"].iter().any(|dir| source.path.contains(dir)))
        .collect()
}

/// The part of a file before its test module. Test modules stand last.
fn without_tests(text: &str) -> String {
    text.split("#[cfg(test)]").next().unwrap_or_default().to_owned()
}

/// Lines of code: comments left out, numbered from 1.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(idx, line)| (idx + 1, line.trim()))
        .filter(|(_, line)| !line.starts_with("//"))
}

/// Joins `complaints` into one failure, so that a run shows them all.
fn check(rule: &str, complaints: &[String]) {
    assert!(complaints.is_empty(), "{rule}:\n  {}", complaints.join("\n  "));
}

/// The rank of a module of the server crate: a module may use those of the same or a lower rank.
fn rank(module: &str) -> Option<u32> {
    Some(match module {
        "main" | "cli" => 6,
        "server" => 5,
        // `App` builds their router, and is handed to them as state.
        "app" | "xrpc" | "oauth" | "web" => 4,
        "service" => 2,
        "store" => 1,
        "config" | "task" | "time" => 0,
        _ => return None,
    })
}

/// Modules named after `crate::` in a line, also in a group: `use crate::{service::x, store::y}` names both.
fn modules_named(text: &str) -> Vec<(usize, String)> {
    let mut named = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let line_start = text.get(..at).unwrap().rfind('\n').map_or(0, |newline| newline + 1);
        if text.get(line_start..at).unwrap().trim_start().starts_with("//") {
            continue;
        }
        let line = text.get(..at).unwrap().matches('\n').count() + 1;
        let rest = text.get(at + "crate::".len()..).unwrap();
        match rest.strip_prefix('{') {
            None => named.push((line, leading_word(rest))),
            Some(group) => named.extend(group_heads(group).into_iter().map(|head| (line, head))),
        }
    }
    named
}

/// The first words of the items of a `use` group, up to the brace that closes it.
fn group_heads(group: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let (mut depth, mut item) = (0, String::new());
    for character in group.chars() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.push(leading_word(std::mem::take(&mut item).trim())),
            _ if depth == 0 => item.push(character),
            _ => {}
        }
    }
    heads.push(leading_word(item.trim()));
    heads.retain(|head| !head.is_empty());
    heads
}

fn leading_word(text: &str) -> String {
    text.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect()
}

#[test]
fn a_use_group_names_each_of_its_modules() {
    let text = "use crate::{\n    service::{keys::Keys, repo::Repos},\n    store::Store,\n    time,\n};\nlet x = crate::xrpc::y;";
    let named: Vec<String> = modules_named(text).into_iter().map(|(_, name)| name).collect();
    assert_eq!(named, ["service", "store", "time", "xrpc"]);
}

#[test]
fn layers_use_only_what_stands_below_them() {
    let mut complaints = Vec::new();
    for source in sources() {
        if source.path.starts_with("src/atproto/") || source.path == "src/lib.rs" {
            continue;
        }
        let module = leading_word(source.path.strip_prefix("src/").unwrap());
        let Some(own) = rank(&module) else {
            complaints
                .push(format!("{}: module {module} has no layer; give it one in tests/tidy.rs", source.path));
            continue;
        };
        for (line, used) in modules_named(&source.product) {
            if rank(&used).is_some_and(|used| used > own) {
                complaints.push(format!("{}:{line}: {module} must not use {used}", source.path));
            }
        }
    }
    check("arrows run down only", &complaints);
}

#[test]
fn sql_stands_only_in_the_store() {
    let statements =
        ["SELECT ", "INSERT INTO", "UPDATE ", "DELETE FROM", "PRAGMA ", "BEGIN IMMEDIATE", "CREATE TABLE"];
    let mut complaints = Vec::new();
    for source in sources() {
        if source.path.starts_with("src/store/") {
            continue;
        }
        for (line, code) in code_lines(&source.product) {
            let has_statement = statements
                .iter()
                .any(|statement| code.match_indices(statement).any(|(at, _)| begins_a_string(code, at)));
            if has_statement || code.contains("rusqlite::params!") {
                complaints.push(format!("{}:{line}: {code}", source.path));
            }
        }
    }
    check("SQL only in src/store and migrations", &complaints);
}

/// True when what stands at `at` is the beginning of a string literal or of a line within one.
fn begins_a_string(code: &str, at: usize) -> bool {
    let before = code.get(..at).unwrap_or_default().trim_end();
    before.is_empty() || before.ends_with('"')
}

#[test]
fn the_protocol_crate_does_no_io_and_reads_neither_clock_nor_randomness() {
    let forbidden = [
        "async fn",
        ".await",
        "std::fs",
        "std::net",
        "std::env",
        "std::thread",
        "SystemTime",
        "Instant::now",
        "thread_rng",
        "rand::",
        "getrandom",
        "Zoned::now",
        "Timestamp::now",
        "println!",
        "eprintln!",
    ];
    let mut complaints = Vec::new();
    for source in sources().iter().filter(|source| source.path.starts_with("src/atproto/")) {
        for (line, code) in code_lines(&source.product) {
            for word in forbidden.iter().filter(|word| code.contains(**word)) {
                complaints.push(format!("{}:{line}: {word}", source.path));
            }
        }
    }
    check("src/atproto is pure", &complaints);
}

/// The runtime is compiled once more for each type that it is handed.
#[test]
fn tasks_are_started_without_their_types() {
    let mut complaints = Vec::new();
    for source in sources().iter().filter(|source| source.path != "src/task.rs") {
        for (line, code) in code_lines(&source.product) {
            let is_tracked = code.contains("tasks.spawn(") && !code.contains("tasks.spawn(task::boxed(");
            if is_tracked || code.contains("tokio::spawn(") || code.contains("tokio::task::spawn") {
                complaints.push(format!("{}:{line}: {code}", source.path));
            }
        }
    }
    check("tasks start through src/task.rs", &complaints);
}

#[test]
fn only_config_reads_the_environment() {
    let mut complaints = Vec::new();
    for source in sources() {
        if source.path.starts_with("src/config") {
            continue;
        }
        for (line, code) in code_lines(&source.product) {
            if code.contains("env::var") {
                complaints.push(format!("{}:{line}: {code}", source.path));
            }
        }
    }
    check("settings come from src/config.rs alone", &complaints);
}

#[test]
fn every_file_says_what_it_is_for() {
    let complaints: Vec<String> = sources()
        .iter()
        .filter(|source| !source.text.starts_with("//!"))
        .map(|source| format!("{} does not begin with a //! comment", source.path))
        .collect();
    check("module documentation", &complaints);
}

#[test]
fn nothing_is_left_to_be_filled_in() {
    let marks = ["todo!(", "unimplemented!(", "TODO", "FIXME", "XXX"];
    let mut complaints = Vec::new();
    for source in sources() {
        for (line, text) in source.text.lines().enumerate() {
            if marks.iter().any(|mark| text.contains(mark)) {
                complaints.push(format!("{}:{}: {}", source.path, line + 1, text.trim()));
            }
        }
    }
    check("open ends belong in the issue tracker", &complaints);
}

#[test]
fn every_method_served_has_the_file_that_its_name_says() {
    let catalog = atproto::lexicon::Catalog::embedded();
    let methods: BTreeSet<&str> =
        catalog.methods().map(|(nsid, _)| nsid).filter(|nsid| nsid.starts_with("com.atproto.")).collect();
    assert!(methods.len() > 20, "only {} com.atproto methods are embedded", methods.len());
    let complaints: Vec<String> = methods
        .iter()
        .map(|nsid| {
            let (group, method) = nsid.strip_prefix("com.atproto.").unwrap().split_once('.').unwrap();
            format!("src/xrpc/com_atproto/{}/{}.rs", snake_case(group), snake_case(method))
        })
        .filter(|path| !root().join(path).is_file())
        .map(|path| format!("{path} is missing"))
        .collect();
    check("one file per lexicon method", &complaints);
}

/// `createRecord` to `create_record`.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for character in name.chars() {
        if character.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(character.to_ascii_lowercase());
    }
    snake
}

#[test]
fn migrations_are_numbered_without_gaps() {
    let mut files = Vec::new();
    files_below(&root().join("migrations"), "sql", &mut files);
    let numbers: Vec<u32> = files
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().split('_').next().unwrap().parse().unwrap())
        .collect();
    assert_eq!(numbers, (1..=u32::try_from(numbers.len()).unwrap()).collect::<Vec<_>>());
}

#[test]
fn every_direct_dependency_is_explained() {
    let explained = fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap();
    let mut complaints = Vec::new();
    for manifest in ["Cargo.toml", "src/atproto/Cargo.toml"] {
        let manifest: toml::Table = fs::read_to_string(root().join(manifest)).unwrap().parse().unwrap();
        for table in ["dependencies", "dev-dependencies"] {
            for name in manifest.get(table).and_then(|table| table.as_table()).unwrap().keys() {
                if name != "atproto" && !explained.contains(&format!("`{name}`")) {
                    complaints.push(name.clone());
                }
            }
        }
    }
    check("CONTRIBUTING.md has a line for every dependency", &complaints);
}
