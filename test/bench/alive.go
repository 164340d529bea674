package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/valyala/fasthttp"

	"sallyport/pkg/bus"
	"sallyport/pkg/bus/permit"
	"sallyport/pkg/contract"
)

// sessionsAlive fills the bucket as other gateways do, and looks at the one that follows it.
func (h *house) sessionsAlive(ctx context.Context, c *capacityFigures) (err error) {
	gateway := string(contract.AuthGateway)
	out := &c.Sessions
	// What lives is seen once hashes have made the collector run.
	resident := func(what string) (float64, error) {
		for n := range 40 {
			err := h.http.do("POST", "/v1/sign-ins", "", []byte(fmt.Sprintf(`{"email":"nobody%d@bench.test","password":"wrong"}`, n)), 401, func(*fasthttp.Response) error { return nil })
			if err != nil {
				return 0, err
			}
		}
		return memoryOf(h.pid(gateway), what)
	}
	again := func() (time.Duration, error) {
		if err := h.stop(gateway); err != nil {
			return 0, err
		}
		return h.start(ctx, contract.AuthGateway)
	}
	if out.ReadyEmpty, err = again(); err != nil {
		return err
	}
	if out.Empty, err = resident("VmRSS"); err != nil {
		return err
	}

	password, err := permit.Password(filepath.Join(h.dir, "keys"), permit.User(contract.AuthGateway))
	if err != nil {
		return err
	}
	visitor, err := bus.Visit(ctx, bus.Options{URL: "nats://" + h.nats, Name: contract.AuthGateway, User: gateway, Password: password, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer func() {
		bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err = errors.Join(err, visitor.Close(bound))
	}()
	bucket, err := bus.OpenKV[map[string]any](ctx, visitor, contract.Sessions)
	if err != nil {
		return err
	}
	var model map[string]any
	watching, stop := context.WithCancel(ctx)
	err = bucket.Watch(watching, func(_ string, v *map[string]any, _ uint64) {
		if v != nil && (*v)["user"] != nil {
			model = *v
		}
	})
	stop()
	if err != nil || model == nil {
		return errors.Join(err, errors.New("there is no session to copy"))
	}
	progress("%d sessions", capacitySessions)
	before, err := h.look(ctx)
	if err != nil {
		return err
	}
	next := queueOf(usersFrom(0, capacitySessions))
	r, err := drive(64, 5*time.Minute, func(int) error {
		u, err := next()
		if err != nil {
			return err
		}
		v, err := likeness(model, u)
		if err != nil {
			return err
		}
		_, err = bucket.Create(ctx, v["id"].(string), v)
		return err
	})
	if err = errors.Join(err, rest(ctx)); err != nil {
		return err
	}
	after, err := h.look(ctx)
	if err != nil {
		return err
	}
	out.N, out.Each = len(r.Took), after.minus(before).each(len(r.Took), c.Idle)
	if out.Full, err = resident("VmRSS"); err != nil {
		return err
	}
	if out.ReadyFull, err = again(); err != nil {
		return err
	}
	if out.Again, err = resident("VmRSS"); err != nil {
		return err
	}
	out.Peak, err = memoryOf(h.pid(gateway), "VmHWM")
	progress("  %.0f MiB without, %.0f with, %.0f read anew, %.0f at most; ready after %v and %v", out.Empty, out.Full, out.Again, out.Peak,
		out.ReadyEmpty.Round(time.Millisecond), out.ReadyFull.Round(time.Millisecond))
	return err
}

// likeness is a session of somebody else like this one, that began now.
func likeness(model map[string]any, u user) (map[string]any, error) {
	raw, err := json.Marshal(model)
	if err != nil {
		return nil, err
	}
	var v map[string]any
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, err
	}
	who, ok := v["who"].(map[string]any)
	if !ok {
		return nil, errors.New("a session does not say who it is of")
	}
	now := time.Now().UTC().Format(time.RFC3339Nano)
	v["id"], v["user"], v["auth_time"], v["seen_at"] = bus.NewID(), u.id(), now, now
	who["id"], who["email"], who["name"] = u.id(), u.email(), "Person "+u.id()
	return v, nil
}
