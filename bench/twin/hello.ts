/** The floor: a worker that says hello. */
export default async (_request: Request): Promise<Response> => new Response("hello");
