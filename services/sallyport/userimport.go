package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"sallyport/pkg/contract"
	"sallyport/services/sallyport/roster"
)

// userImportCommand is `sallyport user import`.
type userImportCommand struct {
	site
	Portal       string `required:"" help:"The portal."`
	File         string `arg:"" help:"JSON Lines, or CSV with a header (people only), or what user export wrote; - is the standard input."`
	DryRun       bool   `help:"Look at everything, say what would happen, and change nothing."`
	SkipBad      string `placeholder:"FILE" help:"Import the good lines although some are bad, and write the bad ones to FILE."`
	Update       bool   `help:"Change accounts that are there already to what the file says. A password or second factor that is there stays."`
	AllowMasters bool   `name:"allow-master-admins" help:"Take master_admin from the file."`
	Identity     string `placeholder:"FILE" help:"File of the age identity that opens a sealed file."`
	Reason       string `default:"moved in from a file" help:"Why, for the audit log."`
	JSON         bool   `name:"json" help:"Print the outcome as JSON."`
}

// Help is the long help.
func (*userImportCommand) Help() string {
	return "Reads the whole file first: every bad line is named, with its field and reason, and as long as there is one nothing is imported, unless --skip-bad says where to put them. " +
		"An account that is there already is left alone, unless --update is given; a second factor that is there is never replaced. The same file twice changes nothing, and an import that was cut short is gone on with by the same command. " +
		"Nobody can sign in before everything of theirs is there. It works while the services run, and while they are down. The runbook has the fields and an example (Move people in or out)."
}

// Run looks at the file, then moves the people in.
func (c *userImportCommand) Run() error {
	if err := checkReason(c.Reason); err != nil {
		return err
	}
	file, err := openPeople(c.File, c.Identity)
	if err != nil {
		return err
	}
	defer file.close()
	if _, err := file.read(); err != nil { // a missing identity, before anything else
		return err
	}
	return c.work(false, func(ctx context.Context, v *vault) error {
		m, err := v.mover(ctx, c)
		if err != nil {
			return err
		}
		if err := m.look(ctx, file); err != nil {
			return err
		}
		if c.DryRun {
			return c.report(m.plan, "would be ", nil)
		}
		if m.plan.Bad > 0 && c.SkipBad == "" {
			return fmt.Errorf("nothing is imported, because %s; mend them, or import the others with --skip-bad FILE", lines(m.plan.Bad, "is bad", "are bad"))
		}
		bad, err := c.openBad(file, m.plan.Bad)
		if err != nil {
			return err
		}
		if err := m.move(ctx, file, bad.out()); err != nil {
			bad.drop()
			return fmt.Errorf("it was cut short after %s; the same command goes on: %w", lines(m.done.people(), "is done", "are done"), err)
		}
		if err := bad.keep(); err != nil {
			return err
		}
		return c.report(m.done, "", bad)
	})
}

// tally counts what became of people, or would.
type tally struct {
	Created        int `json:"created"`
	Updated        int `json:"updated"`
	Unchanged      int `json:"unchanged"`
	LeftAlone      int `json:"left_alone"` // they say something else than the file
	Authenticators int `json:"authenticators"`
	Phones         int `json:"phones"`
	FactorsKept    int `json:"factors_kept"`
	Bad            int `json:"bad"`
}

func (t tally) people() int { return t.Created + t.Updated + t.Unchanged + t.LeftAlone }

// report prints how it ended; would is put in front of what has not happened.
func (c *userImportCommand) report(t tally, would string, bad *badFile) error {
	if c.JSON {
		return printJSON(t)
	}
	fmt.Printf("%s %smade, %d %schanged.\n", counted(t.Created, "account"), would, t.Updated, would)
	fmt.Printf("%s %smoved in; %d stay as they are.\n", counted(t.Authenticators, "authenticator")+" and "+counted(t.Phones, "number"), would, t.FactorsKept)
	if t.Unchanged+t.LeftAlone > 0 {
		fmt.Printf("%s there already: %d as the file says, %d otherwise (--update changes those).\n", counted(t.Unchanged+t.LeftAlone, "account"), t.Unchanged, t.LeftAlone)
	}
	switch {
	case t.Bad > 0 && bad != nil:
		fmt.Printf("%s, in %s.\n", lines(t.Bad, "is bad", "are bad"), c.SkipBad)
	case t.Bad > 0:
		fmt.Printf("%s.\n", lines(t.Bad, "is bad", "are bad"))
	}
	if would == "" && t.Created+t.Updated+t.Authenticators+t.Phones > 0 {
		fmt.Printf("It is recorded in the audit log of %s, by %s.\n", c.Portal, actor())
	}
	return nil
}

// counted is a number of things: "1 account", "2 accounts".
func counted(n int, of string) string {
	if n == 1 {
		return "1 " + of
	}
	return fmt.Sprintf("%d %ss", n, of)
}

// lines says something of so many lines.
func lines(n int, one, many string) string {
	if n == 1 {
		return "1 line " + one
	}
	return fmt.Sprintf("%d lines %s", n, many)
}

// Bounds of the work in hand.
const (
	// batch is how many lines are looked at together, atOnce how many people are.
	batch  = 64
	atOnce = 4
	// saysEvery is after how many people a line about the progress is printed.
	saysEvery = 5000
)

// each reads a file, and has every line looked at: first in its turn, then, unless it is bad by then, at once with its
// neighbours. after gets them in their order.
func each(ctx context.Context, in io.Reader, overflow io.Writer, first func(*roster.Line), then func(context.Context, *roster.Line) error, after func(*roster.Reader, roster.Line) error) error {
	r, err := roster.NewReader(in)
	if err != nil {
		return fmt.Errorf("the file cannot be read: %w", err)
	}
	r.Overflow = overflow
	for ended := false; !ended; {
		var people []roster.Line
		for len(people) < batch && !ended {
			l, err := r.Next()
			if errors.Is(err, io.EOF) {
				ended = true
				break
			}
			if err != nil && !errors.Is(err, roster.ErrEnd) {
				return fmt.Errorf("the file cannot be read: %w", err)
			}
			ended = err != nil
			if l.Wrong == nil {
				first(&l)
			}
			people = append(people, l)
		}
		group, bound := errgroup.WithContext(ctx)
		group.SetLimit(atOnce)
		for i := range people {
			if people[i].Wrong == nil {
				group.Go(func() error { return then(bound, &people[i]) })
			}
		}
		if err := group.Wait(); err != nil {
			return err
		}
		for _, l := range people {
			if err := after(r, l); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// name says what is wrong with a line, on the standard error.
func name(l roster.Line) {
	for _, p := range l.Wrong {
		field := p.Field
		if field == "" {
			field = "-"
		}
		fmt.Fprintf(os.Stderr, "line %d: %s: %s: %s\n", l.Number, field, p.Reason, p.Says)
	}
}

// progress prints how far it is, where there is much to do.
type progress struct {
	what string
	n    int
	at   time.Time
}

func (p *progress) one() {
	if p.n == 0 {
		p.at = time.Now() // real time: how long the operator waits
	}
	if p.n++; p.n%saysEvery == 0 {
		// real time: how long the operator waits
		fmt.Fprintf(os.Stderr, "%d lines %s after %v\n", p.n, p.what, time.Since(p.at).Round(time.Second))
	}
}

// badFile is where bad lines go: it takes its name when it is whole. A nil one takes nothing.
type badFile struct {
	path string
	file *os.File
	to   io.Writer
	seal func() error
}

// openBad opens it, sealed where the file of people is. Without bad lines, or where they stop everything, there is none.
func (c *userImportCommand) openBad(people *peopleFile, n int) (*badFile, error) {
	if c.SkipBad == "" || n == 0 {
		return nil, nil //nolint:nilnil // none is an answer
	}
	if a, err := filepath.Abs(c.SkipBad); err == nil {
		if b, err := filepath.Abs(c.File); err == nil && a == b {
			return nil, wrong("--skip-bad: it must be another file than the one that is imported")
		}
	}
	f, err := os.CreateTemp(filepath.Dir(c.SkipBad), ".sallyport-bad-*") // mode 0600: lines may hold secrets
	if err != nil {
		return nil, wrong("--skip-bad: %v", err)
	}
	b := &badFile{path: c.SkipBad, file: f, to: f, seal: func() error { return nil }}
	if people.sealed {
		to, err := people.recipients()
		if err == nil {
			b.to, b.seal, err = sealTo(f, to)
		}
		if err != nil {
			b.drop()
			return nil, err
		}
	}
	return b, nil
}

// out is where bad lines are written; nil for none.
func (b *badFile) out() io.Writer {
	if b == nil {
		return nil
	}
	return b.to
}

// keep gives the file its name.
func (b *badFile) keep() error {
	if b == nil {
		return nil
	}
	if err := errors.Join(b.seal(), b.file.Sync(), b.file.Close()); err != nil {
		return fmt.Errorf("--skip-bad: %w", err)
	}
	if err := os.Rename(b.file.Name(), b.path); err != nil {
		return fmt.Errorf("--skip-bad: %w", err)
	}
	return nil
}

// drop removes it.
func (b *badFile) drop() {
	if b != nil {
		_, _ = b.file.Close(), os.Remove(b.file.Name()) // it is half a file
	}
}

// waitFor is how long a store that does not answer is waited for, in all, before an import gives up.
var waitFor = []time.Duration{200 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second}

// patiently does something that may be repeated, again where the store did not answer in time.
func patiently(ctx context.Context, f func() error) error {
	for _, wait := range waitFor {
		err := f()
		if contract.CodeOf(err) != contract.Unavailable {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
	return f()
}
