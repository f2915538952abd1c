//! What the law kit checks, and by which mistakes people break it.

use std::panic;

use clap::Args;
use comfy_table::{ContentArrangement, Table, presets};
use meshwork_crdt::laws::wrong::{Mistake, catalogue};
use meshwork_crdt::laws::{Effort, Law};
use serde_json::json;

use super::exit::{Exit, Failure};
use super::output;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  meshwork laws                    all laws, and all mistakes with the laws that they break
  meshwork laws 'clock tie'        one mistake: what it does, what to do instead, and the smallest history that shows it

Every kind of value in Meshwork keeps these laws. A kind of your own must, too: examples/custom_merge.rs shows how
to check one in a test, fuzz/README.md how to fuzz it.")]
pub(crate) struct LawsArgs {
    /// The mistake to look at
    mistake: Option<String>,
    /// Print the table of mistakes, as JSON
    #[arg(long, conflicts_with = "mistake")]
    json: bool,
}

/// Histories for each mistake and law: enough for each of the catalogue, in a second or two.
const EFFORT: Effort = Effort {
    histories: 60,
    steps_max: 24,
    seed: 0,
};

pub(crate) fn run(args: &LawsArgs) -> Result<(), Failure> {
    // Some mistakes panic, which is what they are there for.
    panic::set_hook(Box::new(|_| {}));
    match &args.mistake {
        Some(name) => explain(name),
        None if args.json => {
            let rows = catalogue().into_iter().map(|mistake| {
                let laws: Vec<String> = broken(&mistake).map(|law| law.to_string()).collect();
                json!({ "mistake": mistake.name, "what": mistake.what, "instead": mistake.instead, "laws": laws })
            });
            output::json(&rows.collect::<Vec<_>>())
        }
        None => overview(),
    }
}

/// The laws that the mistake breaks.
fn broken(mistake: &Mistake) -> impl Iterator<Item = Law> + '_ {
    let laws = Law::ALL.iter().copied();
    laws.filter(|law| mistake.hunt(&[*law], &EFFORT).is_err())
}

fn overview() -> Result<(), Failure> {
    output::line(
        "Replicas write apart and merge later. They end alike, and lose nothing, if the merge keeps these laws:\n",
    )?;
    let mut laws = table(["law", "what it asks for"]);
    for law in Law::ALL {
        laws.add_row([law.to_string(), law.asks().to_owned()]);
    }
    output::line(laws)?;
    output::line("\nMerges that are wrong, and the laws that give them away, found just now:\n")?;
    let mut mistakes = table(["mistake", "breaks"]);
    for mistake in catalogue() {
        let laws: Vec<String> = broken(&mistake).map(|law| law.to_string()).collect();
        mistakes.add_row([mistake.name.to_owned(), laws.join(", ")]);
    }
    output::line(mistakes)?;
    output::line(
        "\nLook at one with `meshwork laws 'clock tie'`; check your own as examples/custom_merge.rs does.",
    )
}

fn table(header: [&str; 2]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    table
}

fn explain(name: &str) -> Result<(), Failure> {
    let found = catalogue().into_iter().find(|mistake| mistake.name == name);
    let Some(mistake) = found else {
        let message = format!("no mistake is called {name:?}: `meshwork laws` lists them");
        return Err(Failure::new(Exit::NotFound, message));
    };
    output::line(format_args!(
        "{}: {}.\nInstead: {}.\n",
        mistake.name, mistake.what, mistake.instead
    ))?;
    match mistake.hunt(Law::ALL, &EFFORT) {
        Err(broken) => output::line(broken),
        Ok(_) => output::line("No law gave it away this time."),
    }
}
