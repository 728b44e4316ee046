// Command mirror serves a container registry out of a folder: plain HTTP, no
// credentials, pushes and deletions allowed. It is the distribution registry
// without the drivers for cloud storage, which make up most of its size and of
// the time to build it.
//
// It is compiled on its own where the sandbox runs (see package engine).
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/sirupsen/logrus"
)

func main() {
	log.SetFlags(log.LstdFlags | log.Lmsgprefix)
	log.SetPrefix("mirror: ")
	if err := run(os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("mirror", flag.ContinueOnError)
	address := flags.String("listen", "", "address to listen on, as host:port")
	folder := flags.String("content", "", "folder of the content")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *address == "" || *folder == "" {
		return errors.New("needs an address and a folder")
	}
	logrus.SetLevel(logrus.ErrorLevel)
	server := http.Server{
		Addr:              *address,
		Handler:           handlers.NewApp(context.Background(), configure(*folder)),
		ReadHeaderTimeout: 10 * time.Second,
	}
	return server.ListenAndServe()
}

func configure(folder string) *configuration.Configuration {
	config := &configuration.Configuration{
		Storage: configuration.Storage{
			"filesystem": configuration.Parameters{"rootdirectory": folder},
			"delete":     configuration.Parameters{"enabled": true},
			// Nothing is uploaded for days here, and its first look at
			// the folder would race with the first push.
			"maintenance": configuration.Parameters{"uploadpurging": map[any]any{"enabled": false}},
		},
	}
	config.Catalog.MaxEntries = 1000
	return config
}
