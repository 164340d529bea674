// Command yardstick answers: how fast are Fiber and NATS without Sallyport? `bench` builds and runs it.
//
// It lies in testdata because it is no part of the product: what is said there about who may import Fiber and NATS
// is not about a measurement of Fiber and NATS alone.
package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/nats-io/nats.go"
)

func main() {
	var err error
	switch os.Args[1] {
	case "fiber":
		err = serve()
	case "nats":
		err = echo(os.Args[2], os.Args[3], os.Args[4])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "yardstick:", err)
		os.Exit(1)
	}
}

// serve answers every request with the page on standard input. It prints its address.
func serve() error {
	var page struct {
		Headers [][2]string
		Body    string
	}
	if err := json.NewDecoder(os.Stdin).Decode(&page); err != nil {
		return err
	}
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Get("/v1/session", func(c *fiber.Ctx) error {
		for _, h := range page.Headers {
			c.Set(h[0], h[1])
		}
		return c.SendString(page.Body)
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	return app.Listener(l)
}

// echo sends requests of 256 bytes to itself, over two connections to a server, and prints how long each took, in
// nanoseconds.
func echo(url, clients, took string) error {
	n, err := strconv.Atoi(clients)
	if err != nil {
		return err
	}
	bound, err := time.ParseDuration(took)
	if err != nil {
		return err
	}
	answering, err := nats.Connect(url)
	if err != nil {
		return err
	}
	if _, err := answering.Subscribe("yardstick", func(m *nats.Msg) { _ = m.Respond(m.Data) }); err != nil {
		return err
	}
	if err := answering.Flush(); err != nil {
		return err
	}
	asking, err := nats.Connect(url)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var all []time.Duration
	var work sync.WaitGroup
	begin := time.Now()
	for range n {
		work.Go(func() {
			var own []time.Duration
			for data := make([]byte, 256); time.Since(begin) < bound; {
				start := time.Now()
				if _, err := asking.Request("yardstick", data, 2*time.Second); err != nil {
					fmt.Fprintln(os.Stderr, "yardstick:", err)
					os.Exit(1)
				}
				own = append(own, time.Since(start))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, own...)
		})
	}
	work.Wait()
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"Clients": n, "Took": all, "Wall": time.Since(begin)})
}
