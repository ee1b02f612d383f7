//! A server, its conversations, and all clients connected: ready for a load.

use std::rc::Rc;
use std::time::{Duration, Instant};

use imflow_proto::frame::Format;
use serde_json::json;

use crate::check::Verdict;
use crate::client::{self, Crowd, CrowdPlan, Door, Session};
use crate::failure::Failure;
use crate::http::Http;
use crate::machine::CpuWindow;
use crate::names;
use crate::server::{Server, ServerArgs};
use crate::text::Text;

/// Without any progress for so long, what is missing counts as lost.
const PATIENCE: Duration = Duration::from_secs(15);
/// That a session is online reaches the workers beside its welcome, not before it.
const SETTLE: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(1);

/// Who takes part in a run.
pub(super) struct FleetPlan {
    /// User and encoding of each session.
    pub(super) sessions: Vec<(u32, Format)>,
    /// The users in each conversation.
    pub(super) conversations: Vec<Vec<u32>>,
    pub(super) texts: Vec<Text>,
}

pub(super) struct Fleet {
    pub(super) crowd: Rc<Crowd>,
    pub(super) sessions: Vec<Rc<Session>>,
    /// The sessions of each conversation.
    pub(super) members: Vec<Vec<u32>>,
    background: tokio::task::JoinHandle<()>,
    server: Server,
}

impl Fleet {
    /// Starts the server, creates the conversations and connects everybody.
    pub(super) async fn start(args: &ServerArgs, plan: FleetPlan) -> Result<Self, Failure> {
        let server = Server::start(args)?;
        let fleet = Self::connect(&server, plan).await;
        let explain =
            |failure| Failure::new(format!("{failure}; the server's output:\n{}", server.output()));
        let (crowd, sessions, members) = fleet.map_err(explain)?;
        tokio::time::sleep(SETTLE).await;
        let background =
            tokio::task::spawn_local(super::background::run(Rc::clone(&crowd), sessions.clone()));
        Ok(Self { crowd, sessions, members, background, server })
    }

    async fn connect(
        server: &Server,
        plan: FleetPlan,
    ) -> Result<(Rc<Crowd>, Vec<Rc<Session>>, Vec<Vec<u32>>), Failure> {
        create_conversations(server, &plan.conversations)?;
        let users = plan.sessions.iter().map(|(user, _)| *user).collect();
        let members = sessions_of(&plan);
        let mut conversations = vec![Vec::new(); plan.sessions.len()];
        for (number, sessions) in (0u32..).zip(&members) {
            sessions.iter().for_each(|session| conversations[*session as usize].push(number));
        }
        let crowd = CrowdPlan { users, conversations: members.clone(), texts: plan.texts };
        let crowd = Rc::new(Crowd::new(crowd));
        let tokens = server.tokens()?;
        let mut sessions = Vec::with_capacity(plan.sessions.len());
        for ((number, (user, format)), conversations) in
            (0u32..).zip(&plan.sessions).zip(conversations)
        {
            let token = tokens.client(&names::user(*user), &names::device(number))?;
            let door = Door { address: server.address, token, format: *format };
            sessions.push(client::connect(number, &door, conversations, &crowd).await?);
        }
        Ok((crowd, sessions, members))
    }

    /// Begins to count CPU time.
    pub(super) fn cpu(&self) -> CpuWindow {
        CpuWindow::begin(self.server.pid())
    }

    /// Waits until this time of the crowd's clock.
    pub(super) async fn until(&self, time_ns: u64) -> Result<(), Failure> {
        while self.crowd.now_ns() < time_ns {
            let left = Duration::from_nanos(time_ns.saturating_sub(self.crowd.now_ns()));
            tokio::time::sleep(left.min(Duration::from_millis(50))).await;
            self.check_sessions()?;
        }
        Ok(())
    }

    /// Waits until every send has its reply.
    pub(super) async fn answered(&self) -> Result<(), Failure> {
        let left = self.wait(|crowd| crowd.in_flight()).await?;
        match left {
            0 => Ok(()),
            left => Err(Failure::new(format!(
                "{left} sends have had no reply for {PATIENCE:?}; the server's output:\n{}",
                self.server.output()
            ))),
        }
    }

    /// Waits until every push has come that the acks promise, or none comes any more.
    pub(super) async fn delivered(&self) -> Result<(), Failure> {
        self.wait(|crowd| crowd.check.borrow().outstanding()).await.map(|_| ())
    }

    /// Waits until a number is 0, as long as it falls.
    async fn wait(&self, number: impl Fn(&Crowd) -> u64) -> Result<u64, Failure> {
        let (mut last, mut changed) = (u64::MAX, Instant::now());
        loop {
            let now = number(&self.crowd);
            if now != last {
                (last, changed) = (now, Instant::now());
            }
            if now == 0 || changed.elapsed() > PATIENCE {
                return Ok(now);
            }
            tokio::time::sleep(POLL).await;
            self.check_sessions()?;
        }
    }

    fn check_sessions(&self) -> Result<(), Failure> {
        let explain = |failure| {
            Failure::new(format!("{failure}; the server's output:\n{}", self.server.output()))
        };
        self.crowd.take_failure().map_err(explain)
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// The server, to be killed; the clients let go of it.
    pub(super) fn into_server(self) -> Server {
        self.crowd.close();
        self.background.abort();
        self.server
    }

    /// The verdict of the checks. The server stops.
    pub(super) fn finish(self) -> Verdict {
        self.crowd.close();
        self.background.abort();
        self.crowd.check.take().verify()
    }
}

fn sessions_of(plan: &FleetPlan) -> Vec<Vec<u32>> {
    let users = plan.sessions.iter().map(|(user, _)| user + 1).max().unwrap_or(0);
    let mut of_user = vec![Vec::new(); users as usize];
    for (session, (user, _)) in (0u32..).zip(&plan.sessions) {
        of_user[*user as usize].push(session);
    }
    let sessions = |users: &Vec<u32>| {
        users.iter().flat_map(|user| of_user[*user as usize].iter().copied()).collect()
    };
    plan.conversations.iter().map(sessions).collect()
}

fn create_conversations(server: &Server, conversations: &[Vec<u32>]) -> Result<(), Failure> {
    let token = server.tokens()?.admin()?;
    let mut http = Http::connect(server.address)?;
    for (number, users) in (0u32..).zip(conversations) {
        let role = |index| if index == 0 { "OWNER" } else { "MEMBER" };
        let member = |(index, user): (usize, &u32)| json!({"userId": names::user(*user), "role": role(index)});
        let members: Vec<_> = users.iter().enumerate().map(member).collect();
        let body = json!({"id": names::conversation(number), "type": "GROUP", "members": members});
        let answer = http.post("/v1/conversations", &token, body.to_string().as_bytes())?;
        if !(200..300).contains(&answer.status) {
            return Err(Failure::new(format!(
                "creating a conversation of {} members was answered {}: {}",
                users.len(),
                answer.status,
                String::from_utf8_lossy(&answer.body)
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_has_all_sessions_of_its_users() {
        let sessions = [0, 1, 2, 1].map(|user| (user, Format::Proto)).to_vec();
        let plan =
            FleetPlan { sessions, conversations: vec![vec![0, 1], vec![2]], texts: Vec::new() };
        assert_eq!(sessions_of(&plan), [vec![0, 1, 3], vec![2]]);
    }
}
