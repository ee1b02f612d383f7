use super::*;
use crate::log::{Index, in_memory, on_disk};
use imflow_kind::{Store, Time};

#[test]
#[ignore]
fn measure() {
    for memory in [true, false] {
        let folder = tempfile::tempdir_in("/work").expect("tmp");
        let mut context = super::sink::context(folder.path());
        context.options.set("segment", imflow_kind::Value::Size(64 << 20));
        let mut sink = if memory { in_memory(&context) } else { on_disk(&context) }.expect("built");
        let sent = Arc::new(Sent::default());
        let mut intake = sink.intake(0);
        sink.start(Arc::clone(&sent) as Arc<dyn Injector>).expect("started");
        let rig = Rig::memory();
        let index = context.roles.find::<Arc<Index>>("store").expect("offered");
        let n = 400_000_u64;
        let convs = 500;
        let started = std::time::Instant::now();
        let mut given = 0;
        let mut lagmax = 0;
        let mut preparing = std::time::Duration::ZERO;
        while given < n {
            let t = std::time::Instant::now();
            let mut batch: Vec<Record> = (given..given + 250)
                .map(|i| {
                    let Record::Ordered(o) =
                        rig.message(&format!("conv-{}", i % convs), i / convs + 1)
                    else {
                        unreachable!()
                    };
                    let mut o = (*o).clone();
                    o.message = Arc::new(Message {
                        text: "x".repeat(256),
                        client_msg_id: format!("alice-phone-{i}-1"),
                        ..(*o.message).clone()
                    });
                    Record::Ordered(Arc::new(o))
                })
                .collect();
            given += 250;
            preparing += t.elapsed();
            while given - sent.records.lock().len() as u64 > 8192 {
                std::thread::yield_now();
            }
            intake.on_batch(Time::default(), 0, &mut batch);
            let lag = index.lag();
            lagmax = lagmax.max(lag.committed - lag.indexed);
        }
        while index.lag().indexed < n {
            std::thread::yield_now();
        }
        let took = started.elapsed();
        eprintln!(
            "memory {memory}: {:.0}/s in {took:?}, preparing {preparing:?}, lag max {lagmax}",
            n as f64 / took.as_secs_f64()
        );
        let t = std::time::Instant::now();
        for i in 0..200 {
            let p = index.messages(&format!("conv-{i}"), n / convs - 100, 100).expect("read");
            assert_eq!(p.items.len(), 100);
        }
        eprintln!("latest 100: {:?}", t.elapsed() / 200);
        let t = std::time::Instant::now();
        if !memory {
            for i in 0..200 {
                let p = index.messages(&format!("conv-{i}"), 0, 100).expect("read");
                assert_eq!(p.items.len(), 100);
            }
            eprintln!("first 100: {:?}", t.elapsed() / 200);
        }
        let t = std::time::Instant::now();
        sink.stop();
        drop(sink); drop(index); drop(intake); context.roles = imflow_kind::Roles::default();
        eprintln!("stop {:?}", t.elapsed());
        if !memory {
            let t = std::time::Instant::now();
            drop(on_disk(&context).expect("again")); context.roles = imflow_kind::Roles::default();
            eprintln!("restart {:?}", t.elapsed());
            std::fs::remove_dir_all(folder.path().join("index")).expect("rm");
            let t = std::time::Instant::now();
            drop(on_disk(&context).expect("again")); context.roles = imflow_kind::Roles::default();
            eprintln!("rebuild {:?}", t.elapsed());
        }
    }
}
