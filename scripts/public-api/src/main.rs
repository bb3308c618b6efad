//! Prints the public items of the crate whose rustdoc JSON is the argument, one a line, sorted.

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: public-api-lines CRATE.json");
        return ExitCode::FAILURE;
    };
    // What the compiler derives for every type says nothing about a change.
    let api = public_api::Builder::from_rustdoc_json(path)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build();
    match api {
        Ok(api) => {
            for item in api.items() {
                println!("{}", as_written(&item.to_string()));
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// A method of an `async_trait` as its author wrote it, and every other line unchanged.
fn as_written(line: &str) -> String {
    const FUTURE: &str = "core::pin::Pin<alloc::boxed::Box<(dyn core::future::future::Future<Output = ";
    const SENT: &str = "> + core::marker::Send + 'async_trait)>>";
    let Some(((before, after), bounds)) = line
        .split_once(FUTURE)
        .and_then(|(before, rest)| rest.rsplit_once(SENT).map(|(output, bounds)| ((before, output), bounds)))
    else {
        return line.to_owned();
    };
    let mut text = format!("{}{after}", before.replacen("pub fn ", "pub async fn ", 1));
    // What async_trait adds: lifetimes of its own, in front of the author's.
    while let Some(at) = text.find("'life") {
        let end = text[at + 5..].find(|c: char| !c.is_ascii_digit()).map_or(text.len(), |end| at + 5 + end);
        let gap = if text[end..].starts_with(", ") { 2 } else { usize::from(text[end..].starts_with(' ')) };
        text.replace_range(at..end + gap, "");
    }
    text = text.replace("<'async_trait>", "").replace(", 'async_trait>", ">").replace("'async_trait, ", "");
    let own: Vec<_> = bounds
        .trim_start_matches(" where ")
        .split(", ")
        .filter(|bound| !bound.is_empty() && !bound.ends_with("'async_trait"))
        .collect();
    if own.is_empty() { text } else { format!("{text} where {}", own.join(", ")) }
}
