package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"
)

// report collects figures.
type report struct {
	out      io.Writer // for lines
	At       time.Time
	Compared map[string][]compared
	Floors   []floored
	Sizes    []sized
	Console  []consolePage
	Texts    []text
	Scaled   []scaled
	Backlog  backlog
	Capacity capacityFigures
	// StoreAlone is the two writes of a text without the rest of it.
	StoreAlone result
	Load       float64 // of the machine, before
	PeakAt32   float64 // MiB
	Start      struct {
		First, Again time.Duration
		Idle         float64 // MiB
	}
	Commands struct{ Checks, Idle, Busy int }
}

// compared is a figure beside its floor.
type compared struct{ got, floor result }

type floored struct {
	name, says string
	result
}

// sized is the cost of a verification among so many people.
type sized struct {
	enrolled int
	result
}

// text is what became of a rush of text messages: how they were accepted, and how they were handed over.
type text struct{ in, out result }

func newReport() *report {
	r := &report{out: os.Stdout, At: time.Now(), Compared: map[string][]compared{}}
	if raw, err := os.ReadFile("/proc/loadavg"); err == nil {
		_, _ = fmt.Sscan(string(raw), &r.Load)
	}
	return r
}

// header is what benchstat wants to know.
func (r *report) header(w io.Writer) {
	r.out = w
	fmt.Fprintf(w, "goos: %s\ngoarch: %s\npkg: sallyport/test/bench\ncpu: %s\n", runtime.GOOS, runtime.GOARCH, processor())
}

// line writes a result as Go's benchmarks do. With several clients ns/op is the time between two results, as it is
// with b.RunParallel.
func (r *report) line(name string, got result) {
	if len(got.Took) == 0 {
		return
	}
	fmt.Fprintf(r.out, "Benchmark%s-%d\t%8d\t%12.0f ns/op\t%12d p50-ns\t%12d p99-ns\n", name, runtime.GOMAXPROCS(0), len(got.Took),
		float64(got.Wall)/float64(len(got.Took)), got.quantile(.5), got.quantile(.99))
}

func (r *report) compare(name string, got, floor result) {
	r.Compared[name] = append(r.Compared[name], compared{got, floor})
	r.line(fmt.Sprintf("%s/clients=%d", name, got.Clients), got)
	r.line(fmt.Sprintf("%sFloor/clients=%d", name, got.Clients), floor)
	if len(floor.Took) == 0 {
		progress("%s at %d: %s/s; CPU each %v", name, got.Clients, number(got.perSecond()), got.cpuPerOperation())
		return
	}
	progress("%s at %d: %s/s, %.2f of the floor; CPU each %v and %v", name, got.Clients, number(got.perSecond()), got.perSecond()/floor.perSecond(),
		got.cpuPerOperation(), floor.cpuPerOperation())
}

func (r *report) floor(name, says string, got result) {
	r.Floors = append(r.Floors, floored{name, says, got})
	r.line(fmt.Sprintf("%s/clients=%d", name, got.Clients), got)
}

// processor is the name of the machine's processor.
func processor() string {
	raw, _ := os.ReadFile("/proc/cpuinfo") // unknown elsewhere
	for line := range strings.Lines(string(raw)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// number writes a rate with three digits that mean something, and commas.
func number(f float64) string {
	if f < 10 {
		return fmt.Sprintf("%.1f", f)
	}
	s := fmt.Sprintf("%.0f", f)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func ms(d time.Duration) string {
	if d < time.Millisecond {
		return fmt.Sprintf("%.3f ms", float64(d)/1e6)
	}
	return fmt.Sprintf("%.1f ms", float64(d)/1e6)
}

// markdown is docs/performance.md.
func (r *report) markdown() string {
	var w strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&w, format+"\n", args...) }
	table := func(heads ...string) {
		say("| %s |", strings.Join(heads, " | "))
		say("|%s", strings.Repeat("---|", len(heads)))
	}
	row := func(cells ...string) { say("| %s |", strings.Join(cells, " | ")) }
	kept := func(ok bool) string {
		if ok {
			return "yes"
		}
		return "**no**"
	}

	say("# Performance\n")
	say("Written by `make bench` on %s; do not edit. The machine: %d cores (%s), %s on %s/%s.\n",
		r.At.UTC().Format("2006-01-02 15:04 UTC"), runtime.GOMAXPROCS(0), processor(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	say("Each figure stands beside its floor: what the same parts do without Sallyport, measured in the same run, in turns with")
	say("the figure. Absolute numbers are the machine's; the share of the floor is ours. The product is `sallyport up` in a process")
	say("of its own, on the embedded parts, with every write synced to disk and %s people enrolled. The clients are in another process and", number(float64(middle.apps)))
	say("**share the cores with it**; so do those of the bare Fiber server. The floors of writes have no HTTP at all, which makes them strict.")
	say("\"CPU each\" is what one operation takes of the cores of the serving process: it depends less than rates and times do on what else the machine does.\n")

	if r.Load > float64(runtime.GOMAXPROCS(0))/2 {
		say("> The machine had other work: its load was %.1f before the run. Rates and times are worse than they should be, and shares are rough.\n", r.Load)
	}
	say("## The aims\n")
	table("aim", "measured", "kept")
	worst := func(name string) (share float64) {
		share = 1e9
		for _, c := range r.Compared[name] {
			share = min(share, c.got.perSecond()/c.floor.perSecond())
		}
		return share
	}
	last := func(name string) float64 {
		all := r.Compared[name]
		if len(all) == 0 {
			return 0
		}
		c := all[len(all)-1]
		return c.got.perSecond() / c.floor.perSecond()
	}
	if s := worst("Verification"); s < 1e9 {
		row("verifications: at least 0.6 of their floor, at 1, 8 and 32 clients", fmt.Sprintf("%.2f at worst", s), kept(s >= .6))
	}
	if s := worst("SessionCheck"); s < 1e9 {
		row("session checks: at least 0.6 of bare Fiber, at 1, 8 and 32 clients", fmt.Sprintf("%.2f at worst", s), kept(s >= .6))
	}
	if c := r.Commands; c.Checks > 0 {
		row("session checks read nothing from the document store", fmt.Sprintf("%d commands during %s checks, %d without any", c.Busy, number(float64(c.Checks)), c.Idle), kept(c.Busy-c.Idle < c.Checks/1000))
	}
	if s := last("SignInProductionHash"); s > 0 {
		row("sign-ins: at least 0.9 of argon2id alone, at 32 clients", fmt.Sprintf("%.2f", s), kept(s >= .9))
		row("sign-ins: less than 250 MiB resident at 32 clients", fmt.Sprintf("%.0f MiB", r.PeakAt32), kept(r.PeakAt32 < 250))
	}
	if r.Start.Idle > 0 {
		row("ready within 2 s", fmt.Sprintf("%.2f s the first time, %.2f s later", r.Start.First.Seconds(), r.Start.Again.Seconds()), kept(max(r.Start.First, r.Start.Again) < 2*time.Second))
		row("less than 150 MiB resident when idle", fmt.Sprintf("%.0f MiB", r.Start.Idle), kept(r.Start.Idle < 150))
	}
	if n := len(r.Sizes); n > 0 {
		ratio := float64(r.Sizes[n-1].quantile(.5)) / float64(r.Sizes[0].quantile(.5))
		row(fmt.Sprintf("a verification among %s people costs at most 1.3 of one among %d", number(float64(r.Sizes[n-1].enrolled)), r.Sizes[0].enrolled), fmt.Sprintf("%.2f", ratio), kept(ratio <= 1.3))
	}
	if len(r.Console) > 0 {
		slowest := r.Console[0]
		for _, c := range r.Console {
			if c.Many.quantile(.95) > slowest.Many.quantile(.95) {
				slowest = c
			}
		}
		p95 := slowest.Many.quantile(.95)
		row(fmt.Sprintf("each page of the console answers within 100 ms (p95) among %s people", number(float64(large.apps))), fmt.Sprintf("%s at worst (%s)", ms(p95), slowest.Name), kept(p95 < 100*time.Millisecond))
	}
	r.scalingAims(row, kept)
	say("")

	figures := func(title, name, says string) {
		if len(r.Compared[name]) == 0 {
			return
		}
		say("## %s\n", title)
		say("%s\n", says)
		table("clients", "per second", "p50", "p99", "CPU each", "floor per second", "floor p50", "floor CPU each", "share of the floor")
		refused := 0
		for _, c := range r.Compared[name] {
			refused += c.got.Refused
			own := []string{fmt.Sprint(c.got.Clients), number(c.got.perSecond()), ms(c.got.quantile(.5)), ms(c.got.quantile(.99)), ms(c.got.cpuPerOperation())}
			if len(c.floor.Took) == 0 {
				row(append(own, "–", "–", "–", "–")...)
				continue
			}
			row(append(own, number(c.floor.perSecond()), ms(c.floor.quantile(.5)), ms(c.floor.cpuPerOperation()), fmt.Sprintf("%.2f", c.got.perSecond()/c.floor.perSecond()))...)
		}
		if refused > 0 {
			say("\n%d operations were answered \"unavailable\" and are not in these figures.", refused)
		}
		say("")
	}
	figures("Second-factor verifications", "Verification",
		`One `+"`POST /v1/sign-ins/{id}/verify`"+` with a right code, each of another person, whose password was checked before. The floor is
one call over NATS, two by-id updates of the person's document, one compare-and-set and one new key of a bucket, one after the other.
What is looked at once more before a session is handed out (the account, and policy-svc with two reads) is not in the floor.`)
	if len(r.Compared["Verification"]) > 0 {
		say("For context, code verifications per second at 1, 8 and 32 clients of others, measured elsewhere on such a machine: Ory Kratos on")
		say("PostgreSQL 156, 338 and 333; Authelia on SQLite 471, 350 and 206.\n")
	}
	if len(r.Sizes) > 0 {
		say("### Among how many people\n")
		say("One client, a hundred people with three codes each, in turns on three installations.\n")
		table("people enrolled", "per second", "p50", "p99", fmt.Sprintf("p50 beside that of %d", r.Sizes[0].enrolled))
		for _, s := range r.Sizes {
			row(number(float64(s.enrolled)), number(s.perSecond()), ms(s.quantile(.5)), ms(s.quantile(.99)), fmt.Sprintf("%.2f", float64(s.quantile(.5))/float64(r.Sizes[0].quantile(.5))))
		}
		say("")
	}
	if len(r.Console) > 0 {
		say("## The admin console\n")
		say("One admin, %d requests for each page, in turns on two installations. The store is the embedded one, whose lists and counts go by", consoleRounds)
		say("indexes (docs/decisions/embedded-lists.md). The floor is the same page among %d people.\n", small.apps)
		table("page", fmt.Sprintf("p50 among %s", number(float64(large.apps))), "p95", fmt.Sprintf("p50 among %d", small.apps), "p95")
		for _, c := range r.Console {
			row(c.Name, ms(c.Many.quantile(.5)), ms(c.Many.quantile(.95)), ms(c.Few.quantile(.5)), ms(c.Few.quantile(.95)))
		}
		say("")
	}
	figures("Session checks", "SessionCheck",
		"One `GET /v1/session` with the token of one of 500 sessions. The floor is a bare Fiber handler that returns the same headers and body.")
	if c := r.Commands; c.Checks > 0 {
		say("No database is read: during %s checks in five seconds the services sent %d commands to the document store, and %d in five seconds", number(float64(c.Checks)), c.Busy, c.Idle)
		say("without any check (their own sweeps), by the counter `sallyport_store_operation_duration_seconds_count` of `/metrics`.\n")
		say("For context, session checks per second of others: Ory Kratos 1,200; Authelia 26,000, from the memory of one process.\n")
	}
	figures("Whole sign-ins, with the password hash of production", "SignInProductionHash",
		"Password (argon2id, 7 MiB, 5 passes) and code. The floor is the hash alone, on as many goroutines as there are cores (or clients, if fewer).")
	if r.PeakAt32 > 0 {
		say("The most that was resident at 32 clients: %.0f MiB.\n", r.PeakAt32)
		say("What a sign-in does besides its hash (the clients, HTTP, four reads, the verification's writes, all on the same two cores)")
		say("stands in the next table. It is what keeps the share below 0.9: with the document store and the clients on other cores, less of it is here.\n")
		say("For context, whole sign-ins per second of others at their default hashing: 5 to 8.\n")
	}
	figures("Whole sign-ins, with a minimal password hash", "SignInMinimalHash",
		"The same with a hash of 64 KiB and one pass, which nobody should use: what a sign-in costs besides the hash.")
	if len(r.Texts) > 0 {
		say("## Text messages\n")
		say("Sign-ins of contacts: from the answer that accepts the challenge until the embedded SNS endpoint has the message.\n")
		table("clients", "messages", "accepted per second", "handed over per second", "handed over after, p50", "p99")
		for _, t := range r.Texts {
			row(fmt.Sprint(t.in.Clients), fmt.Sprint(len(t.out.Took)), number(t.in.perSecond()), number(t.out.perSecond()), ms(t.out.quantile(.5)), ms(t.out.quantile(.99)))
		}
		say("")
	}
	r.scalingFigures(say, table, row)
	if r.Start.Idle > 0 {
		say("## Start and memory\n")
		say("`sallyport up --demo`, built before: ready %.2f s after its first start, which makes keys, streams, databases and accounts, and", r.Start.First.Seconds())
		say("%.2f s after later ones (the median of five). Five seconds later %.0f MiB are resident.\n", r.Start.Again.Seconds(), r.Start.Idle)
	}
	if len(r.Floors) > 0 {
		say("## Floors\n")
		say("The parts alone, in one process.\n")
		table("what", "clients", "per second", "p50", "p99", "CPU each")
		for _, f := range r.Floors {
			cpu := "–"
			if f.CPU > 0 {
				cpu = ms(f.cpuPerOperation())
			}
			row(f.says, fmt.Sprint(f.Clients), number(f.perSecond()), ms(f.quantile(.5)), ms(f.quantile(.99)), cpu)
		}
		say("")
	}
	return strings.TrimRight(w.String(), "\n") + "\n"
}
