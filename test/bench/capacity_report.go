package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"sallyport/pkg/contract"
)

// Between these lines of docs/capacity.md stands what this program has measured.
const (
	capacityBegin = "<!-- measured: begin -->\n"
	capacityEnd   = "<!-- measured: end -->"
)

// between puts text between the marks of a file.
func between(file, text string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	head, rest, ok := strings.Cut(string(raw), capacityBegin)
	_, tail, ends := strings.Cut(rest, capacityEnd)
	if !ok || !ends {
		return errors.New(file + " has no marks for what was measured")
	}
	return os.WriteFile(file, []byte(head+capacityBegin+text+capacityEnd+tail), 0o644)
}

// The collections of one person, of one sign-in that was seen, and of one text or change.
var (
	ofPerson  = []string{"logins", "users", "standings"}
	ofApp     = []string{"authenticators"}
	ofPhone   = []string{"phones"}
	ofArrival = []string{"arrivals", "homes"}
	ofText    = []string{"challenges"}
	ofAudit   = []string{"audit_entries", "audit_ids"}
)

// capacityTables is the measured part of docs/capacity.md.
func (r *report) capacityTables() string {
	c := r.Capacity
	var w strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&w, format+"\n", args...) }
	table := func(heads ...string) {
		say("| %s |", strings.Join(heads, " | "))
		say("|%s", strings.Repeat("---|", len(heads)))
	}
	row := func(cells ...string) { say("| %s |", strings.Join(cells, " | ")) }
	millis := func(seconds float64) string { return fmt.Sprintf("%.2f", 1000*positive(seconds)) }
	count := func(f float64) string { return fmt.Sprintf("%.1f", positive(f)) }
	whole := func(f float64) string { return number(float64(int(positive(f) + .5))) }

	say("\nWritten by `go run ./test/bench -only capacity -capacity docs/capacity.md` on %s. The machine: %d cores (%s), %s on %s/%s.\n",
		r.At.UTC().Format("2006-01-02 15:04 UTC"), runtime.GOMAXPROCS(0), processor(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	if r.Load > float64(runtime.GOMAXPROCS(0))/2 {
		say("> The machine had other work: its load was %.1f before the run. Counts and bytes are exact all the same, CPU is somewhat too high, and times and rates say nothing.\n", r.Load)
	}
	say("### CPU of one operation, ms\n")
	say("The hash of a password (argon2id, 7 MiB, 5 passes) takes **%s** of the gateway's CPU, and stands in the second row alone. Accounts of the other", ms(c.Hash))
	say("rows have a hash that costs nothing. What the processes do in an idle second is taken off.\n")
	processes := []string{string(contract.AuthGateway), string(contract.Policy), string(contract.TOTP), string(contract.SMSDispatcher), partNATS, partStore}
	table(append(append([]string{"operation"}, processes...), "all")...)
	for _, o := range c.Operations {
		cells := []string{o.Name}
		for _, p := range processes {
			cells = append(cells, millis(o.Each[figCPU+p]))
		}
		row(append(cells, millis(o.Each.sum(figCPU)-o.Each[figCPU+partSNS]))...)
	}
	say("\n### What one operation asks of the others\n")
	table("operation", "commands to the store: gateway", "policy", "totp", "sms", "all", "of these writes", "calls on the bus", "events consumed", "bytes between services and NATS", "and the store", "audit entries")
	for _, o := range c.Operations {
		cells := []string{o.Name}
		for _, s := range []contract.Service{contract.AuthGateway, contract.Policy, contract.TOTP, contract.SMSDispatcher} {
			cells = append(cells, count(o.Each.of(figCommands, s)))
		}
		row(append(cells, count(o.Each.sum(figCommands)), count(o.Each.sum(figWrites)), count(o.Each.sum(figCalls)), count(o.Each.sum(figEvents)), whole(o.Each.sum(figBus)), whole(o.Each.sum(figStored)), count(o.Each.sum(figAudited)))...)
	}
	say("\nOne idle second of all: %s commands, %s bytes to and from NATS, %s ms of CPU.\n", count(c.Idle.sum(figCommands)), whole(c.Idle.sum(figBus)), millis(c.Idle.sum(figCPU)))

	if len(c.Among) > 1 {
		say("### Does it grow with the number of people?\n")
		table("sign-in with an app", "commands to the store", "calls", "bytes to and from the store", "CPU of the services, ms", "of the store, ms")
		for _, o := range c.Among {
			services := o.Each.sum(figCPU) - o.Each[figCPU+partSNS] - o.Each[figCPU+partStore] - o.Each[figCPU+partNATS]
			row(o.Name, count(o.Each.sum(figCommands)), count(o.Each.sum(figCalls)), whole(o.Each.sum(figStored)), millis(services), millis(o.Each[figCPU+partStore]))
		}
		say("")
	}

	say("### Bytes on disk\n")
	say("BSON as the driver sends it, the mean of up to %d documents; keys are the values in all indexes of the collection. What a MongoDB adds for", sampled)
	say("pages and takes off by compression is not in it.\n")
	table("collection", "documents here", "BSON each", "indexes", "keys each")
	for _, k := range c.Kept {
		row(fmt.Sprintf("%s `%s`", strings.TrimPrefix(k.Database, "sallyport_"), k.Name), number(float64(k.Documents)), whole(k.BSON), fmt.Sprint(k.Indexes), whole(k.Keys))
	}
	say("")
	table("what", "BSON", "keys", "entries in indexes")
	for _, x := range []struct {
		what  string
		names []string
	}{
		{"a person with an app (account, standing, authenticator)", slices.Concat(ofPerson, ofApp)},
		{"a contact with a telephone (account, standing, number)", slices.Concat(ofPerson, ofPhone)},
		{"who has signed in at least once: on top", ofArrival},
		{"a text", ofText},
		{"an entry of the audit log", ofAudit},
	} {
		bson, keys, entries := bytesOf(c.Kept, x.names...)
		row(x.what, whole(bson), whole(keys), fmt.Sprint(entries))
	}
	say("\nOn the embedded store a person takes %s bytes of its files: the growth from %s to %s people, indexes included.\n", whole(c.Files), number(float64(fewer.apps+fewer.contacts)), number(float64(many.apps)))
	say("Streams and buckets grow, for each operation, by (bytes of their files, one copy):\n")
	streams := map[string]bool{}
	for _, o := range c.Operations {
		for k, v := range o.Each {
			if name, ok := strings.CutPrefix(k, figStream); ok && v > 1 {
				streams[name] = true
			}
		}
	}
	var names []string
	for s := range streams {
		names = append(names, s)
	}
	slices.Sort(names)
	table(append([]string{"operation"}, names...)...)
	for _, o := range c.Operations {
		cells := []string{o.Name}
		for _, s := range names {
			cells = append(cells, whole(o.Each[figStream+s]))
		}
		row(cells...)
	}

	s := c.Sessions
	if s.N > 0 {
		say("\n### Sessions in memory\n")
		per := func(mib float64) string { return whole((mib - s.Empty) * (1 << 20) / float64(s.N)) }
		say("Every gateway holds every live session. %s that others opened, each of another person:\n", number(float64(s.N)))
		table("of one session", "")
		row("resident in a gateway that heard of it, bytes", per(s.Full))
		row("resident in a gateway that has read all anew, bytes", per(s.Again))
		row("and at most while it read", per(s.Peak))
		row("on disk in its bucket, bytes, one copy", whole(s.Each[figStream+"KV_"+contract.Sessions.Name]))
		row("from NATS to one gateway, bytes", whole(s.Each.of(figBus, contract.AuthGateway)))
		row("CPU of one gateway that hears of it, ms", fmt.Sprintf("%.3f", 1000*positive(s.Each[figCPU+string(contract.AuthGateway)])))
		row("CPU of NATS (one server, one gateway), ms", fmt.Sprintf("%.3f", 1000*positive(s.Each[figCPU+partNATS])))
		say("\nA gateway was ready %.2f s after its start without them, and %.2f s after it with them; it holds %.0f MiB without.", s.ReadyEmpty.Seconds(), s.ReadyFull.Seconds(), s.Empty)
	}

	if len(c.Full.Took) > 0 && len(c.Operations) > 1 {
		say("\n### What is full first on this machine\n")
		say("32 clients sign in with an app and production's hash: %s a second here and now (the rate of a quiet machine stands in", number(c.Full.perSecond()))
		say("[performance](performance.md)). Of the cores' time had meanwhile:\n")
		table("process", "share of the cores", "sign-ins a second that would take one core of it")
		o := c.Operations[1]
		for _, p := range append(processes, "clients and relays") {
			rate := "–"
			if cpu := o.Each[figCPU+p]; cpu > .00005 {
				rate = number(1 / cpu)
			}
			row(p, fmt.Sprintf("%.0f %%", 100*c.Full.Shares[figCPU+p]), rate)
		}
		app, text := c.Operations[1].Each[figCPU+partStore], c.Operations[2].Each[figCPU+partStore]
		if app > 0 && text > 0 {
			say("\nThe embedded store takes one command at a time, so that more cores do not carry more of it: it ends at %s sign-ins with an app, or %s with a text,", number(1/app), number(1/text))
			say("at that CPU for each. A MongoDB has no such end.")
		}
	}
	if len(c.Series) > 0 {
		say("\n### Series of Prometheus\n")
		var cells []string
		for _, p := range houseServices {
			cells = append(cells, fmt.Sprintf("%s %d", p, c.Series[p]))
		}
		say("One process has, once it has done all of the above: %s.", strings.Join(cells, ", "))
	}
	say("")
	return w.String()
}
