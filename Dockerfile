# docker build -t rookery .
# docker run -p 2583:2583 -v rookery:/var/lib/rookery -e ROOKERY_SERVER_HOSTNAME=pds.example.com rookery
#
# Data and master key are in the volume; see docs/operations.md for what to back up.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
# How the C parts are built.
COPY .cargo ./.cargo
COPY src ./src
COPY migrations ./migrations
COPY benches ./benches
COPY examples ./examples
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin rookery \
    && cp target/release/rookery /rookery
# Owned by the user that the final image runs as; a new volume takes it over.
RUN install -d -m 0700 -o 65532 -g 65532 /data

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /rookery /usr/local/bin/rookery
COPY --from=build --chown=65532:65532 /data /var/lib/rookery
ENV ROOKERY_SERVER_LISTEN=0.0.0.0:2583
USER 65532:65532
VOLUME /var/lib/rookery
EXPOSE 2583
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
    CMD ["/usr/local/bin/rookery", "health"]
ENTRYPOINT ["/usr/local/bin/rookery"]
CMD ["serve"]
