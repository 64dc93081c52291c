-- How often a task was started anew: with attempt it is the fence.
alter table tasks add column reopened integer not null default 0;
