// Command auth-gateway answers: who may come in? It serves the pages and the JSON API of Sallyport.
package main

import (
	"os"

	"sallyport/pkg/service"
	"sallyport/services/auth-gateway/gateway"
)

func main() { os.Exit(service.Main[gateway.Settings]("auth-gateway", gateway.Start)) }
