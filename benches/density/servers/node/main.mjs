// Node's own http module: a timer per stream, a set of subscribers per topic.
import http from 'node:http';

const HEAD = { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' };
const PADDING = 'x'.repeat(1 << 17);
const subscribers = new Set();

// Date.now() has milliseconds only; the distance of two clocks is taken once.
const offset = BigInt(Date.now()) * 1_000_000n - process.hrtime.bigint();
const unixNs = () => (process.hrtime.bigint() + offset).toString().padStart(19, '0');

function tick(response, url) {
    const ms = Number(url.searchParams.get('ms') ?? 1000);
    const padding = PADDING.slice(0, Math.max(0, Number(url.searchParams.get('bytes') ?? 100) - 28));
    const send = () => response.write(`data: ${unixNs()} ${padding}\n\n`);
    const timer = setInterval(send, ms);
    response.on('close', () => clearInterval(timer));
    send();
}

function publish(request, response) {
    const pieces = [];
    request.on('data', piece => pieces.push(piece));
    request.on('end', () => {
        const event = Buffer.concat([Buffer.from('data: '), ...pieces, Buffer.from('\n\n')]);
        for (const subscriber of subscribers) subscriber.write(event);
        response.writeHead(204).end();
    });
}

const server = http.createServer((request, response) => {
    const url = new URL(request.url, 'http://localhost');
    if (url.pathname === '/publish' && request.method === 'POST') return publish(request, response);
    if (url.pathname === '/hello') return response.end('Hello, World!');
    if (!['/idle', '/tick', '/topic'].includes(url.pathname)) return response.writeHead(404).end();
    response.writeHead(200, HEAD);
    response.flushHeaders();
    if (url.pathname === '/tick') tick(response, url);
    if (url.pathname === '/topic') {
        subscribers.add(response);
        response.on('close', () => subscribers.delete(response));
    }
});
server.on('connection', socket => socket.setNoDelay(true));
server.listen({ host: '127.0.0.1', port: Number(process.env.PORT ?? 0), backlog: 4096 }, () => {
    console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
