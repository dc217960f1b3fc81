//! A fat morph: the complete list is rendered and sent ten times a second. The page keeps the
//! visitor's focus, caret, typed text and scroll position.
//!
//! `cargo run --release --example morph`, then open <http://127.0.0.1:8080> and write a note.

mod datastar_js;

use std::{error::Error, fmt, time::Duration};

use starwheel::{Router, Sse, datastar::PatchElements};

fn main() -> Result<(), Box<dyn Error>> {
    let router = Router::new().get("/fleet", |_req, _cx| {
        let mut tick = 0;
        Sse::every(Duration::from_millis(100), move |stream| {
            tick += 1;
            stream.send(PatchElements::new(Fleet { tick }));
        })
    });
    datastar_js::run(datastar_js::serve_page(router, include_str!("morph.html"))?)
}

/// Sixty machines at one moment, as HTML.
struct Fleet {
    tick: u32,
}

impl fmt::Display for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let busy = (0..MACHINES).filter(|&machine| self.load(machine) >= BUSY_PERCENT).count();
        write!(f, "<section id=\"fleet\">")?;
        write!(f, "<header><b>{MACHINES}</b> machines, <b class=\"busy\">{busy}</b> busy")?;
        write!(f, "<span>render <b id=\"tick\">{}</b></span></header><ol id=\"list\">", self.tick)?;
        for machine in 0..MACHINES {
            let load = self.load(machine);
            let class = if load >= BUSY_PERCENT { " class=\"busy\"" } else { "" };
            // The id lets the morph find the note again. It has no value, because the visitor owns it.
            write!(
                f,
                "<li id=\"machine-{machine}\"{class}><code>node-{machine:02}</code>\
                 <meter min=\"0\" max=\"100\" value=\"{load}\"></meter><b>{load} %</b>\
                 <input id=\"note-{machine}\" aria-label=\"note on node {machine}\" \
                 placeholder=\"note\" autocomplete=\"off\"></li>"
            )?;
        }
        write!(f, "</ol></section>")
    }
}

impl Fleet {
    /// Two waves of different length for each machine, in percent.
    fn load(&self, machine: u32) -> u32 {
        let (time, phase) = (f64::from(self.tick) / 10.0, f64::from(machine * machine));
        let wave = (time / 3.0 + phase).sin() * 30.0 + (time * 1.3 + phase * 0.7).sin() * 15.0;
        (50.0 + wave).round().clamp(0.0, 100.0) as u32
    }
}

const MACHINES: u32 = 60;
const BUSY_PERCENT: u32 = 80;
