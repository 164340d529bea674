package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"sallyport/pkg/bus"
	"sallyport/pkg/bus/permit"
	"sallyport/pkg/config"
	"sallyport/pkg/contract"
	"sallyport/pkg/embedded"
	"sallyport/pkg/secret"
	"sallyport/pkg/service"
)

// deadLettersCommands are `sallyport dead-letters …`.
type deadLettersCommands struct {
	List   deadListCommand   `cmd:"" help:"List the messages that no service could use, with the reason."`
	Replay deadReplayCommand `cmd:"" help:"Publish dead letters again, once what made them fail is mended."`
	Drop   deadDropCommand   `cmd:"" help:"Delete dead letters."`
}

// postOffice says on which NATS a command works: that of NATS_URL; an embedded one that runs, which is joined; or that of
// the data directory, which is run on its address for as long as the command takes, so that `sallyport up` is refused
// meanwhile.
type postOffice struct {
	Data string `help:"Data directory of the installation." default:".sallyport" type:"path"`
	NATS string `name:"nats" help:"Embedded NATS. NATS_URL replaces it." default:"127.0.0.1:4222"`
}

// work finds NATS, does f and leaves.
func (p postOffice) work(f func(context.Context, *bus.Bus) error) error {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	b, leave, err := p.open(ctx, config.Environ())
	if err != nil {
		return err
	}
	return errors.Join(f(bus.WithRequestID(ctx, bus.NewID()), b), leave())
}

// Mail is how a command is told where NATS is, and who it is there.
type Mail struct {
	URL       string        `env:"NATS_URL"`
	CredsFile string        `env:"NATS_CREDS_FILE"`
	User      string        `env:"NATS_USER"`
	Password  secret.String `env:"NATS_PASSWORD"`
	service.NATSTLS
}

// Validate returns what is wrong with it.
func (m Mail) Validate() []string {
	out := m.NATSTLS.Validate()
	if err := bus.CheckURL(m.URL); m.URL != "" && err != nil {
		out = append(out, "NATS_URL: "+err.Error())
	}
	if m.CredsFile != "" {
		if err := bus.CheckCreds(m.CredsFile); err != nil {
			out = append(out, "NATS_CREDS_FILE: "+err.Error())
		}
	}
	return out
}

// open connects to NATS; leave gives back what it took.
func (p postOffice) open(ctx context.Context, vars map[string]string) (_ *bus.Bus, leave func() error, err error) {
	told, err := config.Load[Mail](vars)
	if err != nil {
		return nil, nil, err
	}
	log, err := newLog(vars)
	if err != nil {
		return nil, nil, err
	}
	o := bus.Options{URL: told.URL, CredsFile: told.CredsFile, User: told.User, Password: told.Password, TLS: told.TLS(), Name: busName, Log: log}
	var own *embedded.NATS
	if o.URL == "" {
		if own, err = p.find(ctx, log); err != nil {
			return nil, nil, err
		}
		o = bus.Options{URL: "nats://" + p.NATS, Name: o.Name, Log: log}
		if err := asOperator(&o, p.Data); err != nil {
			return nil, nil, err
		}
	}
	if own != nil {
		o.URL = own.URL()
	}
	var b *bus.Bus
	leave = func() error {
		ctx, cancel := context.WithTimeout(context.Background(), service.StopTimeout)
		defer cancel()
		var errs []error
		if b != nil {
			errs = append(errs, b.Close(ctx))
		}
		if own != nil {
			errs = append(errs, own.Close(ctx))
		}
		return errors.Join(errs...)
	}
	bound, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if b, err = bus.Visit(bound, o); err != nil {
		return nil, nil, errors.Join(err, leave())
	}
	return b, leave, nil
}

// asOperator has a command connect as the operator of the embedded NATS of a data directory. Where there is no password,
// it connects as nobody, and the server says what it thinks of that; one that cannot be used is an error.
func asOperator(o *bus.Options, data string) error {
	password, err := permit.Password(filepath.Join(data, "keys"), permit.Operator)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		o.User, o.Password = string(permit.Operator), password
	}
	return err
}

// find makes sure that the embedded NATS of this data directory runs, and returns it where it did not before.
func (p postOffice) find(ctx context.Context, log *slog.Logger) (*embedded.NATS, error) {
	if _, _, err := net.SplitHostPort(p.NATS); err != nil {
		return nil, wrong("--nats: %q is not host:port", p.NATS)
	}
	if _, err := os.Stat(p.Data); err != nil {
		return nil, wrong("--data %s: there is no installation here (%v); NATS_URL is not set either", p.Data, errors.Unwrap(err))
	}
	dir := filepath.Join(p.Data, "nats")
	if listens(ctx, p.NATS) {
		held, err := locked(filepath.Join(dir, ".lock"))
		if err == nil && !held {
			err = wrong("--nats %s: what listens there does not use --data %s; name the NATS of this installation, or a free address", p.NATS, p.Data)
		}
		return nil, err
	}
	if _, err := os.Stat(dir); err != nil {
		return nil, wrong("--data %s: there are no streams here; where NATS is a server of its own, set NATS_URL", p.Data)
	}
	passwords, err := permit.Generate(filepath.Join(p.Data, "keys"))
	if err != nil {
		return nil, fmt.Errorf("--data %s: %w", p.Data, err)
	}
	own, err := embedded.StartNATS(embedded.NATSOptions{Dir: dir, Addr: p.NATS, Log: log, Users: passwords})
	if err != nil {
		if held, looked := locked(filepath.Join(dir, ".lock")); held && looked == nil {
			return nil, wrong("sallyport runs on this data; name the --nats that it was started with (--data %s is in use, and nobody listens at %s)", p.Data, p.NATS)
		}
		return nil, fmt.Errorf("--data %s: %w", p.Data, err)
	}
	return own, nil
}

// letterFilter says which dead letters are meant.
type letterFilter struct {
	Service string `help:"Only those that this service could not use, such as sms-dispatcher."`
	Subject string `help:"Only those of this subject, such as sallyport.job.challenge.requested."`
}

// check refuses a filter that nothing can fit.
func (f letterFilter) check() error {
	if f.Service != "" && !slices.Contains(services(), contract.Service(f.Service)) {
		return wrong("--service: there is no service %q", f.Service)
	}
	return nil
}

func (f letterFilter) fits(l bus.DeadLetter) bool {
	return (f.Service == "" || f.Service == string(l.Service)) && (f.Subject == "" || f.Subject == l.Subject)
}

// deadListCommand is `sallyport dead-letters list`.
type deadListCommand struct {
	postOffice
	letterFilter
	Limit   int  `help:"How many at most, oldest first." default:"100"`
	Payload bool `help:"Print the payloads too, quoted and cut. Ours hold ids alone; what others sent may hold anything."`
	JSON    bool `name:"json" help:"Print the dead letters as JSON."`
}

// Help is the long help.
func (*deadListCommand) Help() string {
	return "SEQ names a dead letter for replay and drop. DELIVERIES is how often the message was given to the service before it was laid aside: 1 where nothing could be made of it, more where each try failed. " +
		"REQUEST finds the rest in the logs."
}

// letterLine is a dead letter of the list.
type letterLine struct {
	Sequence   uint64    `json:"sequence"`
	At         time.Time `json:"at"`
	Service    string    `json:"service"`
	Subject    string    `json:"subject"`
	Reason     string    `json:"reason"`
	Deliveries string    `json:"deliveries"`
	Request    string    `json:"request_id,omitempty"`
	Event      string    `json:"event_id"`
	Size       int       `json:"size"`
	// Lasting says why it cannot be replayed, whatever is mended.
	Lasting string `json:"not_replayable,omitempty"`
	Payload string `json:"payload,omitempty"`
}

// Run prints the dead letters.
func (c *deadListCommand) Run() error {
	if err := c.check(); err != nil {
		return err
	}
	if c.Limit < 1 {
		return wrong("--limit: %d is not a number of dead letters", c.Limit)
	}
	return c.work(func(ctx context.Context, b *bus.Bus) error {
		lines, more := make([]letterLine, 0, 16), false
		for l, err := range b.AllDeadLetters(ctx) {
			if err != nil {
				return err
			}
			if !c.fits(l) {
				continue
			}
			if more = len(lines) == c.Limit; more {
				break
			}
			line := lineOf(l)
			if c.Payload {
				line.Payload = strings.ToValidUTF8(string(cut(l.Data, longestPayload)), "\uFFFD")
			}
			lines = append(lines, line)
		}
		if c.JSON {
			return printJSON(lines)
		}
		if len(lines) == 0 {
			fmt.Println("There are no dead letters.")
			return nil
		}
		if err := printLetters(os.Stdout, lines, c.Payload); err != nil {
			return err
		}
		if more {
			fmt.Printf("There are more than %d; --limit shows more of them.\n", c.Limit)
		}
		return nil
	})
}

func lineOf(l bus.DeadLetter) letterLine {
	line := letterLine{
		Sequence: l.Sequence, At: l.At.UTC(), Service: string(l.Service), Subject: l.Subject, Reason: l.Reason,
		Deliveries: l.Deliveries, Request: l.Request, Event: l.ID, Size: l.Size,
	}
	if err := l.Replayable(); err != nil {
		line.Lasting = contract.AsError(err).Detail
	}
	return line
}

// printLetters writes them for a person.
func printLetters(w io.Writer, lines []letterLine, payload bool) error {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "SEQ\tWHEN\tSERVICE\tSUBJECT\tDELIVERIES\tREQUEST\tREASON")
	for _, l := range lines {
		fmt.Fprintf(tw, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", l.Sequence, l.At.Format(time.RFC3339),
			plain(l.Service), plain(l.Subject), plain(l.Deliveries), plain(l.Request), plain(l.Reason))
		if payload {
			fmt.Fprintf(tw, "\t%d bytes: %s\n", l.Size, strconv.QuoteToASCII(l.Payload))
		}
	}
	return tw.Flush()
}

// Bounds of what is printed of a letter.
const (
	longestCell    = 120
	longestPayload = 512
)

// plain is a cell of the table. What poison says of itself must not move a terminal's cursor.
func plain(s string) string {
	if short := cut(s, longestCell); short != s {
		s = short + "…"
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	if s == "" {
		return "-"
	}
	return s
}

// cut is the beginning of s.
func cut[S ~string | ~[]byte](s S, longest int) S { return s[:min(len(s), longest)] }

// chosenLetters are the dead letters that a command is about.
type chosenLetters struct {
	postOffice
	letterFilter
	Sequences []uint64 `arg:"" optional:"" name:"seq" help:"Sequence numbers, as sallyport dead-letters list shows them."`
	All       bool     `help:"All that there are now, or all that --service and --subject name."`
}

// deadReplayCommand is `sallyport dead-letters replay`.
type deadReplayCommand struct{ chosenLetters }

// Help is the long help.
func (*deadReplayCommand) Help() string {
	return "Every service that consumes the message gets it again, under its own id, and does nothing that it has done before. One that still cannot use it writes a new dead letter. " +
		"A text message is not sent for a code that has expired meanwhile."
}

// Run replays.
func (c *deadReplayCommand) Run() error {
	return c.each("replayed", func(ctx context.Context, b *bus.Bus, seq uint64) error { return b.Replay(ctx, seq) })
}

// deadDropCommand is `sallyport dead-letters drop`.
type deadDropCommand struct{ chosenLetters }

// Run drops.
func (c *deadDropCommand) Run() error {
	return c.each("dropped", func(ctx context.Context, b *bus.Bus, seq uint64) error { return b.Drop(ctx, seq) })
}

// each does one thing with every chosen letter, and says so. One that is refused keeps no other from it.
func (c *chosenLetters) each(done string, do func(context.Context, *bus.Bus, uint64) error) error {
	switch {
	case c.All == (len(c.Sequences) > 0):
		return wrong("give the sequence numbers of dead letters, or --all")
	case !c.All && c.letterFilter != letterFilter{}:
		return wrong("use --service and --subject together with --all; sequence numbers need neither")
	}
	if err := c.check(); err != nil {
		return err
	}
	return c.work(func(ctx context.Context, b *bus.Bus) error {
		tried, refused := 0, 0
		for l, err := range c.letters(ctx, b) {
			tried++
			if err == nil {
				err = do(ctx, b, l.Sequence)
			}
			switch contract.CodeOf(err) {
			case "":
				fmt.Printf("%d  %s  %s  is %s.\n", l.Sequence, plain(string(l.Service)), plain(l.Subject), done)
			case contract.NotFound, contract.InvalidRequest:
				refused++
				fmt.Fprintln(os.Stderr, contract.AsError(err).Detail)
			default:
				return err
			}
		}
		switch {
		case refused > 0:
			return fmt.Errorf("%d of %d dead letters were not %s", refused, tried, done)
		case tried == 0:
			fmt.Println("There are no such dead letters.")
		}
		return nil
	})
}

// letters goes through those that were chosen.
func (c *chosenLetters) letters(ctx context.Context, b *bus.Bus) func(func(bus.DeadLetter, error) bool) {
	return func(yield func(bus.DeadLetter, error) bool) {
		for _, seq := range c.Sequences {
			if l, err := b.DeadLetter(ctx, seq); !yield(l, err) {
				return
			}
		}
		if !c.All {
			return
		}
		for l, err := range b.AllDeadLetters(ctx) {
			if err == nil && !c.fits(l) {
				continue
			}
			if !yield(l, err) {
				return
			}
		}
	}
}
