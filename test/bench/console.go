package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/valyala/fasthttp"
)

// admin is the one Master Admin of every installation.
var admin = user{n: -1}

// consolePage is a page of the admin console and how often an admin's browser asked for it.
type consolePage struct {
	Name      string
	Few, Many result
}

// consoleRounds is how often each page is asked for.
const consoleRounds = 60

// consolePages are what an admin looks at, with the cursor of a later page where a list has one.
func consolePages() []struct{ name, path string } {
	return []struct{ name, path string }{
		{"overview", "/admin"},
		{"internal users, first page", "/admin/users?audience=internal"},
		{"internal users, a later page", "/admin/users?audience=internal&cursor=NEXT"},
		{"search by the beginning of an email", "/admin/users?audience=internal&query=u0000"},
		{"search by the beginning of a name", "/admin/users?audience=internal&query=person+u0000"},
		{"search that finds nobody", "/admin/users?audience=internal&query=zz"},
		{"not enrolled", "/admin/users?audience=internal&standing=not_enrolled"},
		{"locked", "/admin/users?audience=internal&standing=locked"},
		{"a person", "/admin/users/PERSON"},
		{"organizations", "/admin/organizations"},
		{"two-factor settings", "/admin/settings"},
		{"audit log", "/admin/audit"},
		{"deliveries", "/admin/deliveries"},
	}
}

// console measures the pages of the admin console among a hundred people and among a hundred thousand, in turns.
func (b *bench) console(ctx context.Context) error {
	pages := consolePages()
	measured := make([]consolePage, len(pages))
	for i, p := range pages {
		measured[i].Name = p.name
	}
	type place struct {
		product *product
		token   string
		next    []byte
	}
	var places []place
	for _, c := range []struct {
		name string
		crowd
	}{{"small", small}, {"large", large}} {
		dir, err := b.installation(c.name, c.crowd)
		if err != nil {
			return err
		}
		p, err := startProduct(ctx, b.sallyport, dir)
		if err != nil {
			return err
		}
		defer p.stop() //nolint:errcheck // it has served its purpose
		progress("%d people: ready after %.1f s", c.apps, p.ready.Seconds())
		s, err := p.http.begin(admin)
		if err != nil {
			return err
		}
		code, err := admin.code(time.Now().Add(30 * time.Second)) // one that no earlier part has typed
		if err != nil {
			return err
		}
		token, err := p.http.verify(s, code)
		if err != nil {
			return err
		}
		at := place{product: p, token: token}
		if err := p.http.browse("/admin/users?audience=internal", token, func(r *fasthttp.Response) error {
			if m := nextPage.FindSubmatch(r.Body()); m != nil {
				at.next = bytes.Clone(m[1])
			}
			return nil
		}); err != nil {
			return err
		}
		if at.next == nil {
			return errors.New("the list of users has one page")
		}
		places = append(places, at)
	}
	for range consoleRounds {
		for i, p := range pages {
			for n, at := range places {
				path := bytes.ReplaceAll(bytes.ReplaceAll([]byte(p.path), []byte("NEXT"), at.next), []byte("PERSON"), []byte(user{n: 42}.id()))
				begun := time.Now()
				if err := at.product.http.browse(string(path), at.token, func(*fasthttp.Response) error { return nil }); err != nil {
					return err
				}
				took := time.Since(begun)
				into := []*result{&measured[i].Few, &measured[i].Many}[n]
				into.Took, into.Wall, into.Clients = append(into.Took, took), into.Wall+took, 1
			}
		}
	}
	b.report.Console = measured
	for _, m := range measured {
		name := regexp.MustCompile(`\W+`).ReplaceAllString(m.Name, "-")
		b.report.line(fmt.Sprintf("Console/page=%s/people=%d", name, large.apps), m.Many)
		b.report.line(fmt.Sprintf("ConsoleFloor/page=%s/people=%d", name, small.apps), m.Few)
		progress("%s: p95 %s, %s among %d", m.Name, ms(m.Many.quantile(.95)), ms(m.Few.quantile(.95)), small.apps)
	}
	return nil
}

// nextPage finds the cursor of the page after this one.
var nextPage = regexp.MustCompile(`cursor=([A-Za-z0-9_-]+)`)

// browse asks for a page as a browser with a session does.
func (c *client) browse(path, session string, read func(*fasthttp.Response) error) error {
	req, res := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(res)
	req.SetRequestURI(path)
	req.Header.SetHost(c.host.Addr)
	req.Header.SetCookie("sallyport_session", session)
	if err := c.host.Do(req, res); err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	if res.StatusCode() != fasthttp.StatusOK {
		return fmt.Errorf("GET %s: %d %s", path, res.StatusCode(), res.Header.Peek("Location"))
	}
	return read(res)
}
