-- Every statement Filmstrip runs, for SQLite and PostgreSQL alike. Parameters are :name.

-- name: add_media
insert into media (file_id, bucket, key, created_at) values (:file_id, :bucket, :key, :now)
on conflict (bucket, key) do nothing;

-- name: media_by_key
select * from media where bucket = :bucket and key = :key;

-- name: media_by_id
select * from media where file_id = :file_id;

-- name: add_task
-- An upload opens one task per version and definition: the partial unique index turns a repeat into no row.
insert into tasks (id, origin, file_id, bucket, key, etag, size, definition, engine, due_at, created_at)
values (:id, :origin, :file_id, :bucket, :key, :etag, :size, :definition, :engine, :due_at, :now)
on conflict (bucket, key, etag, definition) where origin = 'upload' do nothing
returning *;

-- name: upload_task
select * from tasks
 where origin = 'upload' and bucket = :bucket and key = :key and etag = :etag and definition = :definition;

-- name: task
select * from tasks where id = :id;

-- name: tasks_newest
select * from tasks where (:state = '' or state = :state) order by created_at desc, id limit :limit;

-- name: lock_captures
-- Held until the transaction ends, so that two claims cannot both take the last free place.
update locks set name = name where name = 'captures';

-- name: count_captures
select count(*) as running from tasks where state = 'running' and lease_until >= :now;

-- name: claim_task
-- attempt is the fence: it grows with every claim, and only its holder may finish.
update tasks
   set state = 'running', attempt = attempt + 1, lease_until = :until, due_at = :until,
       started_at = coalesce(started_at, :now)
 where id = :id and attempt < :attempts
   and (state = 'waiting' or (state = 'running' and lease_until < :now))
returning *;

-- name: add_attempt
insert into attempts (task_id, attempt, started_at) values (:task_id, :attempt, :now);

-- name: end_attempt
update attempts set finished_at = :now, outcome = :outcome, reason = :reason, bytes_read = :bytes_read
 where task_id = :task_id and attempt = :attempt;

-- name: attempts_of_task
select * from attempts where task_id = :task_id order by attempt;

-- name: postpone_task
-- A waiting task that found no free place is due at once: the next attempt that ends starts it.
update tasks set due_at = :due_at where id = :id and state = 'waiting';

-- name: renew_lease
update tasks set lease_until = :until, due_at = :until
 where id = :id and state = 'running' and attempt = :attempt and reopened = :reopened
returning id;

-- name: fix_version
update tasks set etag = :etag, size = :size
 where id = :id and state = 'running' and attempt = :attempt and reopened = :reopened;

-- name: finish_task
-- No row: the attempt is no longer the current one, and its transaction rolls back.
update tasks
   set state = 'finished', outcome = :outcome, reason = :reason, result = :result, finished_at = :now,
       lease_until = null, due_at = null
 where id = :id and state = 'running' and attempt = :attempt and reopened = :reopened
returning *;

-- name: release_task
update tasks set state = 'waiting', reason = :reason, lease_until = null, due_at = :due_at
 where id = :id and state = 'running' and attempt = :attempt and reopened = :reopened
returning id;

-- name: reopen_task
-- Attempts start at one again: reopened keeps a late one of before from matching its namesake.
update tasks
   set state = 'waiting', outcome = null, reason = '', result = null, attempt = 0, reopened = reopened + 1,
       finished_at = null, due_at = :now
 where id = :id and state = 'finished'
returning *;

-- name: forget_attempts
delete from attempts where task_id = :task_id;

-- name: take_due
-- Pushing due_at ahead is the claim: of two timers, one gets the row.
update tasks set due_at = :later
 where id in (select id from tasks where state <> 'finished' and due_at <= :now and attempt < :attempts
               order by due_at limit :limit)
   and state <> 'finished' and due_at <= :now
returning *;

-- name: take_exhausted
-- Their last attempt lost its lease: they need no free place, only an end.
update tasks set due_at = :later
 where id in (select id from tasks where state = 'running' and due_at <= :now and attempt >= :attempts
               order by due_at limit :limit)
   and state = 'running' and due_at <= :now
returning *;

-- name: open_tasks
select id from tasks where file_id = :file_id and definition = :definition and state <> 'finished' limit 1;

-- name: count_states
select state, count(*) as tasks from tasks group by state;

-- name: oldest_open
select min(created_at) as created_at from tasks where state <> 'finished';

-- name: add_event
insert into events (id, task_id, type, body, created_at) values (:id, :task_id, :type, :body, :now);

-- name: event
select * from events where id = :id;

-- name: events_newest
select events.*, deliveries.state, deliveries.attempt, deliveries.due_at, deliveries.status, deliveries.reason
  from events left join deliveries on deliveries.event_id = events.id
 where :task_id = '' or task_id = :task_id
 order by events.created_at desc, events.id limit :limit;

-- name: pull_events
update events set pull_handle = :prefix || id, pull_until = :until
 where id in (select id from events
               where confirmed_at is null and created_at > :oldest and coalesce(pull_until, 0) <= :now
               order by created_at, id limit :limit)
   and confirmed_at is null and coalesce(pull_until, 0) <= :now
returning *;

-- name: confirm_event
update events set confirmed_at = :now
 where pull_handle = :handle and pull_until > :now and confirmed_at is null
returning id;

-- name: add_delivery
insert into deliveries (event_id, due_at, created_at) values (:event_id, :now, :now);

-- name: due_deliveries
select event_id from deliveries
 where (state = 'due' and due_at <= :now) or (state = 'sending' and lease_until < :now)
 order by created_at limit :limit;

-- name: claim_delivery
update deliveries set state = 'sending', attempt = attempt + 1, lease_until = :until, due_at = null
 where event_id = :event_id
   and ((state = 'due' and due_at <= :now) or (state = 'sending' and lease_until < :now))
returning *;

-- name: end_delivery
update deliveries
   set state = :state, lease_until = null, due_at = :due_at, status = :status, reason = :reason,
       finished_at = :finished_at
 where event_id = :event_id and state = 'sending' and attempt = :attempt
returning event_id;

-- name: delivery
select * from deliveries where event_id = :event_id;

-- name: redeliver
update deliveries set state = 'due', due_at = :now, attempt = 0, finished_at = null
 where event_id in (select id from events where task_id = :task_id) and state = 'given_up'
returning event_id;

-- name: plan_sweep
insert into sweeps (file_id, definition, due_at) values (:file_id, :definition, :due_at)
on conflict (file_id, definition) do update set due_at = excluded.due_at;

-- name: take_sweeps
update sweeps set due_at = :later
 where due_at <= :now
   and exists (select 1 from (select file_id, definition from sweeps where due_at <= :now
                               order by due_at limit :limit) as due
                where due.file_id = sweeps.file_id and due.definition = sweeps.definition)
returning file_id, definition, due_at;

-- name: end_sweep
-- Only as it was taken: a publication in between has planned another.
delete from sweeps where file_id = :file_id and definition = :definition and due_at = :due_at;

-- name: postpone_sweep
update sweeps set due_at = :later
 where file_id = :file_id and definition = :definition and due_at = :due_at;

-- name: purge_deliveries
delete from deliveries where created_at < :before and state in ('delivered', 'given_up');

-- name: purge_attempts
delete from attempts where started_at < :before;

-- name: purge_events
delete from events
 where created_at < :before
   and not exists (select 1 from deliveries where event_id = events.id and state in ('due', 'sending'));

-- name: take_scan
update scans set due_at = :later where name = :name and due_at <= :now returning *;

-- name: note_scan
update scans set due_at = :due_at, since = :since, started_at = :started_at, after_key = :after_key
 where name = :name;
