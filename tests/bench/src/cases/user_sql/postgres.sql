-- The tables of the user, of the same form and with the same indexes as those of `begini`.
create schema scoring;

create table scoring.scores (like public.begini_scores including all);

create table scoring.traits (like public.begini_score_traits including all);
