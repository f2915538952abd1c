//! One simulated network, one seed after another, `meshwork-membership` and `foca`: see the README.

use std::time::Instant;

mod crowd;
mod ours;
mod protocol;
mod rival;
mod rows;
mod table;
mod world;

use ours::Ours;
use protocol::Protocol;
use rival::Rival;
use table::{Cell, Table};

/// What was asked for on the command line.
struct Wanted {
    sizes: Vec<usize>,
    rows: Option<Vec<String>>,
    seeds: u64,
    minutes: u64,
    protocols: Vec<String>,
}

const USAGE: &str = "usage: rivals [--size 128,512] [--rows crash,loss] [--seeds 5] [--minutes 10] [--only ours,timings,foca]";

/// Rows that are measured when none are named; `day` takes minutes, and `crowd` is for sizes beyond memory.
const ROWS: [&str; 9] = [
    "crash", "leave", "loss", "slow", "churn", "join", "split", "restart", "semi",
];

fn main() -> Result<(), String> {
    let wanted = read(std::env::args().skip(1))?;
    for size in &wanted.sizes {
        let mut table = Table::new(*size, wanted.seeds);
        let rows: Vec<String> = match &wanted.rows {
            Some(rows) => rows.clone(),
            None => ROWS.iter().map(ToString::to_string).collect(),
        };
        for row in rows {
            for protocol in &wanted.protocols {
                let start = Instant::now();
                let column = protocol.as_str();
                let cells = match column {
                    "ours" if row == "crowd" => Ok(crowd(&wanted, *size)),
                    _ if row == "crowd" => Ok(Vec::new()),
                    "ours" => measure::<Ours>(&row, &wanted, *size, |_| {
                        meshwork_membership::Config::lan()
                    }),
                    "timings" => {
                        measure::<Ours>(&row, &wanted, *size, |_| ours::memberlist_timings())
                    }
                    "foca" => measure::<Rival>(&row, &wanted, *size, rival::config),
                    other => return Err(format!("no protocol {other}; {USAGE}")),
                }?;
                eprintln!(
                    "{size} members, {row}, {protocol}: {:.0} s",
                    start.elapsed().as_secs_f64()
                );
                table.add(column, cells);
            }
        }
        table.print(&wanted.protocols);
    }
    Ok(())
}

fn read(mut arguments: impl Iterator<Item = String>) -> Result<Wanted, String> {
    let mut wanted = Wanted {
        sizes: vec![128],
        rows: None,
        seeds: 5,
        minutes: 10,
        protocols: ["ours", "timings", "foca"].map(String::from).to_vec(),
    };
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or(USAGE)?;
        let list = || value.split(',').map(String::from).collect::<Vec<_>>();
        let number = |text: &str| text.parse::<u64>().map_err(|_| USAGE.to_string());
        match name.as_str() {
            "--size" => {
                let sizes: Result<Vec<_>, _> = list().iter().map(|text| number(text)).collect();
                wanted.sizes = sizes?.into_iter().map(|size| size as usize).collect();
            }
            "--rows" => wanted.rows = Some(list()),
            "--seeds" => wanted.seeds = number(&value)?,
            "--minutes" => wanted.minutes = number(&value)?,
            "--only" => wanted.protocols = list(),
            _ => return Err(USAGE.into()),
        }
    }
    Ok(wanted)
}

/// One row, or a few that come from the same runs.
fn measure<P: Protocol>(
    row: &str,
    wanted: &Wanted,
    size: usize,
    config: impl Fn(usize) -> P::Config,
) -> Result<Vec<Cell>, String> {
    let seeds = 1..=wanted.seeds;
    let config = || config(size);
    let cells = match row {
        "crash" => [0.0, 0.2]
            .into_iter()
            .flat_map(|loss| {
                let runs = seeds
                    .clone()
                    .map(|seed| rows::crashes::<P>(config(), size, seed, loss));
                let (mut first, mut all) = (Vec::new(), Vec::new());
                for [one, other] in runs {
                    first.extend(one);
                    all.extend(other);
                }
                let loss = loss * 100.0;
                [
                    Cell::spread(
                        &format!("crash to first detection, s, {loss} % loss"),
                        first,
                    ),
                    Cell::spread(&format!("crash to everyone knowing, s, {loss} % loss"), all),
                ]
            })
            .collect(),
        "leave" => {
            let runs = seeds.flat_map(|seed| rows::leaves::<P>(config(), size, seed));
            vec![Cell::spread("leave known by all, s", runs.collect())]
        }
        "loss" => [0.0, 0.05, 0.2]
            .into_iter()
            .flat_map(|loss| {
                let wait = wanted.minutes * 60;
                let runs = seeds
                    .clone()
                    .map(|seed| rows::loss::<P>(config(), size, seed, loss, wait));
                load_cells(
                    &format!("{} % loss", loss * 100.0),
                    &runs.collect::<Vec<_>>(),
                )
            })
            .collect(),
        "slow" => [32, 8, 4]
            .into_iter()
            .flat_map(|part| {
                let slow = size / part;
                let runs = seeds
                    .clone()
                    .map(|seed| rows::slow::<P>(config(), size, seed, slow));
                let runs: Vec<_> = runs.collect();
                let mut cells = load_cells(&format!("{slow} slow"), &runs);
                cells.truncate(2);
                cells
            })
            .collect(),
        "churn" => {
            let runs: Vec<_> = seeds
                .map(|seed| rows::churn::<P>(config(), size, seed))
                .collect();
            load_cells("churn", &runs)
        }
        "join" => {
            let size = if size == 128 { 1_024 } else { size };
            let runs: Vec<_> = seeds
                .map(|seed| rows::join::<P>(config(), size, seed))
                .collect();
            let part = |n: usize| runs.iter().map(|run| run[n]).collect::<Vec<_>>();
            vec![
                Cell::median(&format!("{size} join through one seed, 99 %, s"), part(0)),
                Cell::median(
                    &format!("{size} join through one seed, all know all, s"),
                    part(1),
                ),
                Cell::median(
                    &format!("{size} join through one seed, bytes per member"),
                    part(2),
                ),
            ]
        }
        "split" | "day" => {
            let (apart, name) = if row == "day" {
                (86_400, "24 h")
            } else {
                (60, "60 s")
            };
            let runs = seeds.map(|seed| rows::split::<P>(config(), size, seed, apart));
            vec![Cell::median(
                &format!("50/50 split of {name}, healed after, s"),
                runs.collect(),
            )]
        }
        "restart" => {
            let runs: Vec<_> = seeds
                .map(|seed| rows::restart::<P>(config(), size, seed))
                .collect();
            let part = |n: usize| runs.iter().map(|run| run[n]).collect::<Vec<_>>();
            vec![
                Cell::median("everyone restarts, settled after, s", part(0)),
                Cell::median("everyone restarts, words of death", part(1)),
            ]
        }
        "semi" => {
            let runs = seeds.map(|seed| rows::semi_detached::<P>(config(), size, seed));
            let (deaths, loads): (Vec<_>, Vec<_>) = runs.unzip();
            let mut cells = vec![Cell::median(
                "semi-detached member, words of death in 10 min",
                deaths,
            )];
            cells.extend(load_cells("semi-detached", &loads).into_iter().skip(1));
            cells
        }
        _ => return Err(format!("no row {row}; {USAGE}")),
    };
    Ok(cells)
}

/// Our load alone: the others are not made for it.
fn crowd(wanted: &Wanted, size: usize) -> Vec<Cell> {
    let config = (meshwork_membership::Config::lan(), size);
    let run =
        |seed| rows::crowd::<crowd::Crowd>(config.clone(), size, seed, crowd::WHOLE.min(size));
    let runs: Vec<_> = (1..=wanted.seeds).map(run).collect();
    load_cells("0 % loss", &runs)
}

fn load_cells(name: &str, runs: &[rows::Load]) -> Vec<Cell> {
    let all = |f: fn(&rows::Load) -> f64| runs.iter().map(f).collect::<Vec<_>>();
    vec![
        Cell::mean(
            &format!("false deaths per member-hour, {name}"),
            all(|load| load.false_deaths_per_hour),
        ),
        Cell::median(
            &format!("bytes per member and second, {name}"),
            all(|load| load.bytes),
        ),
        Cell::median(
            &format!("messages per member and second, {name}"),
            all(|load| load.messages),
        ),
        Cell::median(
            &format!("suspicions heard per member and second, {name}"),
            all(|load| load.suspicions),
        ),
        Cell::median(
            &format!("CPU per member and second, µs, {name}"),
            all(|load| load.cpu_us),
        ),
    ]
}
