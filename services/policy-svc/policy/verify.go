package policy

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"sallyport/pkg/contract"
	"sallyport/pkg/store"
)

// batch is how many entries are in memory at once.
const batch = 500

// Report is what [Audit.Verify] found in a portal's log.
type Report struct {
	Portal string
	// Entries is how many are whole, from the first on; Head is the last of them.
	Entries int64
	Head    Head
	// BrokenAt is the number of the first entry that is not as it was written, 0 when all are; Why says what is wrong
	// with it.
	BrokenAt int64
	Why      string
}

// Intact tells whether nothing was found.
func (r Report) Intact() bool { return r.Why == "" }

func (r Report) broken(at int64, format string, args ...any) Report {
	r.BrokenAt, r.Why = at, fmt.Sprintf(format, args...)
	return r
}

// Verify reads a portal's whole log, a batch at a time, and finds an entry that was edited, removed, put in, doubled or
// moved, and an end that was cut off: before the head that the log keeps itself, or before expect, which somebody kept
// elsewhere ([ParseHead]) and nobody who has only the database can set back. Entries that are appended meanwhile are no
// break. Its error is a fault of reading; what is wrong with the log stands in the report.
func (a *Audit) Verify(ctx context.Context, portal string, expect *Head) (Report, error) {
	r := Report{Portal: portal}
	kept, err := a.docs.head(ctx, portal)
	headless := errors.Is(err, store.ErrNotFound)
	if err != nil && !headless {
		return r, err
	}
	if strays, err := a.docs.window(ctx, portal, -1<<62, 1, 1); err != nil || len(strays) > 0 {
		if err == nil {
			r = r.broken(1, "an entry was put in before it, as number %d", strays[0].Seq)
		}
		return r, err
	}
	for {
		// Of each number there should be one; twice as many are read, to see those that are there twice.
		found, err := a.docs.window(ctx, portal, r.Head.Seq+1, r.Head.Seq+1+batch, 2*batch)
		if err == nil && len(found) == 0 {
			found, err = a.docs.window(ctx, portal, r.Head.Seq+1, 1<<62, 1) // behind a gap
		}
		if err != nil {
			return r, err
		}
		if len(found) == 0 {
			break
		}
		for _, e := range found {
			if at, why := r.Head.follow(portal, e, a.key); why != "" {
				return r.broken(at, "%s", why), nil
			}
			r.Entries, r.Head = r.Entries+1, e.head()
			for _, known := range []*Head{&kept, expect} {
				if known != nil && known.Seq == e.Seq && known.Hash != e.Hash {
					return r.broken(e.Seq, "the entry is another than the head that was kept names"), nil
				}
			}
		}
	}
	switch {
	case kept.Seq > r.Head.Seq:
		return r.broken(r.Head.Seq+1, "the end was cut off: the log was %d entries long", kept.Seq), nil
	case expect != nil && expect.Seq > r.Head.Seq:
		return r.broken(r.Head.Seq+1, "the end was cut off: the log was at least %d entries long", expect.Seq), nil
	case headless && r.Entries > 1: // a first entry may be without, of a crash
		return r.broken(r.Head.Seq+1, "the head of the log is gone: whether the end was cut off cannot be told"), nil
	}
	return r, nil
}

// Filter chooses entries; empty fields choose all. From is inclusive, To exclusive.
type Filter struct {
	User     string
	Action   contract.AuditAction
	From, To time.Time
}

// Format is how [Audit.Export] writes.
type Format string

// The formats of an export.
const (
	FormatJSON Format = "json" // one array, an entry per line
	FormatCSV  Format = "csv"  // with a heading, for spreadsheets
)

// Export writes the entries that a filter chooses, oldest first, a batch at a time.
func (a *Audit) Export(ctx context.Context, portal string, f Filter, w io.Writer, format Format) error {
	write, end, err := writer(w, format)
	if err != nil {
		return err
	}
	for last := int64(0); ; {
		found, err := a.docs.oldest(ctx, portal, f, last, batch)
		if err != nil {
			return err
		}
		for _, e := range found {
			if err := write(e.public()); err != nil {
				return err
			}
			last = e.Seq
		}
		if len(found) < batch {
			return end()
		}
	}
}

func writer(w io.Writer, format Format) (write func(contract.AuditEntry) error, end func() error, err error) {
	switch format {
	case FormatJSON:
		before := "[\n"
		write = func(e contract.AuditEntry) error {
			raw, err := json.Marshal(e)
			if err == nil {
				_, err = fmt.Fprintf(w, "%s%s", before, raw)
			}
			before = ",\n"
			return err
		}
		return write, func() error {
			if before == "[\n" {
				_, err := io.WriteString(w, "[]\n")
				return err
			}
			_, err := io.WriteString(w, "\n]\n")
			return err
		}, nil
	case FormatCSV:
		c := csv.NewWriter(w)
		if err := c.Write([]string{"seq", "at", "action", "actor", "user", "reason", "detail", "id", "request", "hash"}); err != nil {
			return nil, nil, err
		}
		write = func(e contract.AuditEntry) error {
			detail := ""
			if len(e.Detail) > 0 {
				raw, err := json.Marshal(e.Detail)
				if err != nil {
					return err
				}
				detail = string(raw)
			}
			return c.Write([]string{
				strconv.FormatInt(e.Seq, 10), e.At.Format("2006-01-02T15:04:05.000Z07:00"), cell(string(e.Action)), cell(e.Actor), cell(e.User),
				cell(e.Reason), cell(detail), cell(e.ID), cell(e.Request), cell(e.Hash),
			})
		}
		return write, func() error { c.Flush(); return c.Error() }, nil
	}
	return nil, nil, fmt.Errorf("the audit log is exported as %s or %s, not as %q", FormatJSON, FormatCSV, format)
}

// Portals lists, by name, the portals that have settings or an audit log.
func (a *Audit) Portals(ctx context.Context) ([]string, error) {
	var out []string
	for last := ""; ; {
		next, err := a.docs.nextPortal(ctx, last)
		if errors.Is(err, store.ErrNotFound) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		out = append(out, next)
		last = next
	}
}

// cell keeps what people wrote from being a formula when a spreadsheet opens the file.
func cell(s string) string {
	if s != "" && strings.IndexByte("=+-@\t\r", s[0]) >= 0 {
		return "'" + s
	}
	return s
}
