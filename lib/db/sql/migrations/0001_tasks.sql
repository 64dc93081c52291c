-- The record of everything: media, tasks, attempts, events and deliveries.
-- Written in the common part of SQLite (>= 3.35) and PostgreSQL. Times are UNIX seconds.

create table media (
    file_id    text primary key,            -- decimal string, may exceed 2^63
    bucket     text not null,
    key        text not null,
    created_at double precision not null,
    unique (bucket, key)
);

create table tasks (
    id          text primary key,           -- the public vodTaskId
    origin      text not null check (origin in ('upload', 'api')),
    file_id     text not null references media (file_id),
    bucket      text not null,
    key         text not null,
    etag        text not null,              -- of the upload; '' (api) takes the version found at the first attempt
    size        bigint not null,            -- bytes, as the event said
    definition  integer not null,
    engine      text not null,
    state       text not null default 'waiting' check (state in ('waiting', 'running', 'finished')),
    outcome     text check (outcome in ('complete', 'partial', 'no_video', 'too_short', 'corrupt', 'unsupported',
                                        'too_large', 'gone', 'timed_out')),
    reason      text not null default '',
    attempt     integer not null default 0,
    reopened    integer not null default 0, -- how often it was started anew: with attempt it is the fence
    lease_until double precision,           -- how long the running attempt may hold the task
    due_at      double precision,           -- when the timer looks at it
    result      text,                       -- JSON: what events and queries tell of the pictures
    created_at  double precision not null,
    started_at  double precision,
    finished_at double precision,
    check ((state = 'finished') = (outcome is not null)),
    check ((state = 'running') = (lease_until is not null)),
    check ((state = 'finished') = (due_at is null))
);
create unique index tasks_upload_once on tasks (bucket, key, etag, definition) where origin = 'upload';
create index tasks_due on tasks (due_at) where state <> 'finished';
create index tasks_running on tasks (lease_until) where state = 'running';
create index tasks_of_media on tasks (file_id, definition, created_at);
create index tasks_created on tasks (created_at);

create table attempts (
    task_id     text not null references tasks (id),
    attempt     integer not null,
    started_at  double precision not null,
    finished_at double precision,
    outcome     text,                       -- as of tasks, or 'retry'; null: still running or killed
    reason      text not null default '',
    bytes_read  bigint,
    primary key (task_id, attempt)
);
create index attempts_started on attempts (started_at);

create table events (
    id           text primary key,          -- the webhook-id: what a receiver de-duplicates by
    task_id      text not null references tasks (id),
    type         text not null,
    body         text not null,             -- JSON, exactly as it is sent and pulled
    created_at   double precision not null,
    pull_handle  text,                      -- msgHandle of the last pull
    pull_until   double precision,          -- invisible to other pulls until then
    confirmed_at double precision
);
create index events_created on events (created_at);
create index events_of_task on events (task_id);
create index events_pullable on events (created_at) where confirmed_at is null;

create table deliveries (
    event_id    text primary key,
    state       text not null default 'due' check (state in ('due', 'sending', 'delivered', 'given_up')),
    attempt     integer not null default 0,
    lease_until double precision,
    due_at      double precision,           -- the next try
    status      integer,                    -- of the last answer
    reason      text not null default '',
    created_at  double precision not null,
    finished_at double precision,
    check ((state = 'sending') = (lease_until is not null)),
    check ((state = 'due') = (due_at is not null))
);
create index deliveries_due on deliveries (due_at) where state = 'due';
create index deliveries_sending on deliveries (lease_until) where state = 'sending';
create index deliveries_created on deliveries (created_at);

create table sweeps (                       -- published folders to look at: do they show the newest upload?
    file_id    text not null references media (file_id),
    definition integer not null,
    due_at     double precision not null,
    primary key (file_id, definition)
);
create index sweeps_due on sweeps (due_at);

create table scans (                        -- looks through the whole bucket for uploads whose event was lost
    name       text primary key,
    due_at     double precision not null,
    since      double precision not null,   -- objects modified before have been looked at; 0: never scanned
    started_at double precision not null,
    after_key  text not null                -- where a scan that ran out of time goes on
);
insert into scans (name, due_at, since, started_at, after_key) values ('bucket', 0, 0, 0, '');

create table locks (                        -- a row to hold while a count must not change
    name text primary key
);
insert into locks (name) values ('captures');
