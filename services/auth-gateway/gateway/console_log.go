package gateway

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/store"
	"sallyport/services/auth-gateway/web"
)

// filterOf reads what a list of events is narrowed by. unknown says that nobody has the address that was typed.
func (g *gateway) filterOf(c *fiber.Ctx) (f web.Filter, unknown web.Text, err error) {
	s := sessionOf(c.UserContext())
	f = web.Filter{Typed: strings.TrimSpace(c.Query("user")), Action: c.Query("action"), From: dayOf(c.Query("from")), To: dayOf(c.Query("to"))}
	switch {
	case f.Typed == "":
	case strings.Contains(f.Typed, "@"):
		email, _ := canonicalEmail(f.Typed)
		u, err := g.accounts.byEmail(c.UserContext(), s.Portal, email)
		if errors.Is(err, store.ErrNotFound) {
			return f, web.UserUnknown, nil
		}
		f.User = web.Named{ID: u.User, Name: u.Name}
		return f, "", err
	default:
		f.User.ID = f.Typed
	}
	return f, "", nil
}

// dayOf is the beginning of a day, or no time.
func dayOf(day string) time.Time {
	t, err := time.Parse(time.DateOnly, day)
	if err != nil {
		return time.Time{}
	}
	return t
}

// until is the end of the last day that is shown.
func until(day time.Time) time.Time {
	if day.IsZero() {
		return day
	}
	return day.AddDate(0, 0, 1)
}

func deliveryRow(i contract.DeliveryInfo, names map[string]string) web.DeliveryRow {
	row := web.DeliveryRow{
		Person: named(names, i.User), At: i.CreatedAt, Destination: i.Destination, Delivery: web.Delivery(i.Delivery), Reason: web.FailureText(string(i.Reason)),
		Attempts: i.Attempts, MessageID: i.MessageID, Verified: !i.VerifiedAt.IsZero(), Purpose: web.ForSignIn,
	}
	switch i.Purpose {
	case contract.ForEnrolment:
		row.Purpose = web.ForEnrolment
	case contract.ForStepUp:
		row.Purpose = web.ForStepUp
	case contract.ForSignIn:
	}
	return row
}

// pageDeliveries is what became of text messages.
func (g *gateway) pageDeliveries(c *fiber.Ctx) error {
	ctx := c.UserContext()
	s := sessionOf(ctx)
	f, unknown, err := g.filterOf(c)
	if err != nil {
		return err
	}
	page := web.Deliveries{Filter: f, UserError: unknown, Cursor: c.Query("cursor")}
	if unknown != "" {
		return g.render(c, fiber.StatusUnprocessableEntity, page)
	}
	found, err := g.desk.deliveries(ctx, s, contract.DeliveriesRequest{User: f.User.ID, From: f.From, To: until(f.To), Cursor: page.Cursor})
	if err != nil {
		return err
	}
	ids := make([]string, 0, len(found.Items))
	for _, i := range found.Items {
		ids = append(ids, i.User)
	}
	names := g.names(ctx, s.Portal, ids)
	for _, i := range found.Items {
		page.Items = append(page.Items, deliveryRow(i, names))
	}
	page.Next = found.Next
	if page.Cursor == "" {
		if page.Traffic, err = g.trafficRows(ctx, s); err != nil {
			return err
		}
	}
	return g.render(c, fiber.StatusOK, page)
}

// trafficRows are the figures by country. Where they cannot be had just now, the list of messages is shown without.
func (g *gateway) trafficRows(ctx context.Context, s session) (*web.Traffic, error) {
	found, err := g.desk.traffic(ctx, s)
	if contract.CodeOf(err) == contract.Unavailable {
		return &web.Traffic{Unknown: true}, nil
	}
	if err != nil {
		return nil, err
	}
	out := &web.Traffic{BudgetSpent: found.BudgetSpent}
	for _, c := range found.Countries {
		row := web.TrafficRow{Country: c.Country, Sent: c.Sent, Answered: c.Answered, Recorded: c.Recorded}
		if c.StoppedUntil != nil {
			row.StoppedUntil = *c.StoppedUntil
		}
		out.Rows = append(out.Rows, row)
	}
	return out, nil
}

// auditRow is an entry of the audit log with names in the place of ids.
func auditRow(i contract.AuditEntry, names map[string]string) web.AuditRow {
	row := web.AuditRow{Seq: i.Seq, At: i.At, Action: string(i.Action), Reason: i.Reason, Detail: i.Detail, Request: i.Request}
	operator, isOperator := strings.CutPrefix(i.Actor, "operator:")
	switch {
	case isOperator:
		row.Actor.Name = web.Say("en", web.ActorOperator, operator)
	case i.Actor == "operator":
		row.Actor.Name = web.Say("en", web.ActorAnOperator)
	case strings.HasPrefix(i.Actor, apiKeyActor):
		row.Actor.Name = web.Say("en", web.ActorPortal, i.Detail["api_key"])
	case i.Actor == "recovery":
		row.Actor.Name = web.Say("en", web.ActorRecovery)
	case i.Actor != "":
		row.Actor = named(names, i.Actor)
	}
	if i.User != "" {
		if row.Person = named(names, i.User); row.Person.Gone {
			row.Person.Name = i.Detail["name"] // a deleted account's last one
		}
	}
	return row
}

// pageAudit is what was done in the portal.
func (g *gateway) pageAudit(c *fiber.Ctx) error {
	ctx := c.UserContext()
	s := sessionOf(ctx)
	f, unknown, err := g.filterOf(c)
	if err != nil {
		return err
	}
	page := web.Audit{Filter: f, UserError: unknown, Cursor: c.Query("cursor"), Actions: []web.Option{{Text: web.AnyAction, Selected: f.Action == ""}}}
	for _, a := range contract.AuditActions() {
		page.Actions = append(page.Actions, web.Option{Value: string(a), Text: web.ActionText(string(a)), Selected: f.Action == string(a)})
	}
	if unknown != "" {
		return g.render(c, fiber.StatusUnprocessableEntity, page)
	}
	r := auditQuery(f)
	r.Cursor = page.Cursor
	found, err := g.desk.audit(ctx, s, r)
	if err != nil {
		return err
	}
	names := g.names(ctx, s.Portal, mentioned(found.Items))
	for _, i := range found.Items {
		page.Items = append(page.Items, auditRow(i, names))
	}
	remember(page.Items)
	page.Next = found.Next
	return g.render(c, fiber.StatusOK, page)
}

// remember names a deleted account in all its rows on a page, where one of them says what its name was.
func remember(rows []web.AuditRow) {
	was := make(map[string]string)
	for _, r := range rows {
		if r.Person.Gone && r.Person.Name != "" {
			was[r.Person.ID] = r.Person.Name
		}
	}
	for i := range rows {
		for _, p := range []*web.Named{&rows[i].Actor, &rows[i].Person} {
			if p.Gone && p.Name == "" {
				p.Name = was[p.ID]
			}
		}
	}
}

func auditQuery(f web.Filter) contract.AuditListRequest {
	return contract.AuditListRequest{User: f.User.ID, Action: contract.AuditAction(f.Action), From: f.From, To: until(f.To)}
}

func mentioned(entries []contract.AuditEntry) []string {
	ids := make([]string, 0, 2*len(entries))
	for _, i := range entries {
		ids = append(ids, i.Actor, i.User)
	}
	return ids
}

// auditPage is how many entries an export reads at once; auditPatience is how long it waits for them, and for whoever
// downloads to take them.
const (
	auditPage     = 200
	auditPatience = 15 * time.Second
)

// pageAuditCSV exports what the filter finds, a page at a time: however long the log is, it is never in memory. A
// fault on the way breaks the download off, so that half a log does not look like a whole one.
func (g *gateway) pageAuditCSV(c *fiber.Ctx) error {
	s := sessionOf(c.UserContext())
	f, unknown, err := g.filterOf(c)
	if err != nil {
		return err
	}
	if unknown != "" {
		return contract.Refuse(contract.InvalidRequest, "There is nobody with this address.")
	}
	r := auditQuery(f)
	r.Limit = auditPage
	first, err := g.desk.audit(c.UserContext(), s, r) // refusals are still a page of their own
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, "text/csv; charset=utf-8")
	c.Set(fiber.HeaderContentDisposition, `attachment; filename="audit-`+g.now().UTC().Format(time.DateOnly)+`.csv"`)
	if c.Method() == fiber.MethodHead {
		return nil // a stream without its body would leave a stray line on the connection
	}
	// The request's context ends with the handler, and the body is written after it.
	life := bus.WithRequestID(context.Background(), requestID(c.UserContext()))
	conn := c.Context().Conn()
	// real time: a bound on the client, who may stop reading
	patient := func() { _ = conn.SetWriteDeadline(time.Now().Add(auditPatience)) }
	c.Context().SetBodyStreamWriter(func(w *bufio.Writer) {
		if err := g.exportAudit(life, w, s, r, first, patient); err != nil {
			g.svc.Log.Warn("audit export broken off", slog.Any("error", err))
			_ = conn.Close()
		}
	})
	return nil
}

// exportAudit writes the pages of an export, the first of which is read already.
func (g *gateway) exportAudit(life context.Context, w *bufio.Writer, s session, r contract.AuditListRequest, page contract.AuditPage, again func()) error {
	out := csv.NewWriter(w)
	if err := out.Write([]string{"seq", "at", "action", "actor", "actor_name", "user", "user_name", "reason", "detail", "request", "id", "hash"}); err != nil {
		return err
	}
	for {
		ctx, cancel := context.WithTimeout(life, auditPatience)
		names := g.names(ctx, s.Portal, mentioned(page.Items))
		cancel()
		for _, i := range page.Items {
			if err := out.Write(auditRecord(i, names)); err != nil {
				return err
			}
		}
		again()
		out.Flush()
		if err := errors.Join(out.Error(), w.Flush()); err != nil || page.Next == "" {
			return err
		}
		r.Cursor = page.Next
		ctx, cancel = context.WithTimeout(life, auditPatience)
		next, err := g.desk.audit(ctx, s, r)
		cancel()
		if err != nil {
			return err
		}
		page = next
	}
}

// auditRecord is an entry as a line of the export.
func auditRecord(i contract.AuditEntry, names map[string]string) []string {
	detail := ""
	if len(i.Detail) > 0 {
		raw, err := json.Marshal(i.Detail)
		if err == nil {
			detail = string(raw)
		}
	}
	record := []string{
		strconv.FormatInt(i.Seq, 10), i.At.UTC().Format(time.RFC3339Nano), string(i.Action), i.Actor, names[i.Actor], i.User, names[i.User], i.Reason, detail, i.Request, i.ID, i.Hash,
	}
	for at, cell := range record {
		record[at] = defused(cell)
	}
	return record
}

// defused is a cell that no spreadsheet takes for a formula: people choose their names, and write reasons.
func defused(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r\n", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}
